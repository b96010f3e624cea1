<?php
// Makes openssl.jsonl: what PHP's openssl_encrypt gives, for every cipher that it can use without a tag.
//
//     php crates/ingest/tests/vectors/make.php > crates/ingest/tests/vectors/openssl.jsonl
//
// A line holds one vector: method, key, iv (hexadecimal as in the vendor's URL, null for none), text and body. On standard error
// it says which methods PHP cannot use, and why.

error_reporting(E_ERROR);

// What a sender can do: keys that are too short, fit or are too long; no vector, a whole one or half of one; texts of odd lengths.
$text = '{"userId":180,"name":"R' . "\u{e1}" . 'chel ' . "\u{1f4de}" . '"}';
$keys = ['k', 'a key of thirty-two bytes, exactly', str_repeat('a key that is longer than any cipher takes ', 3), "k\u{e9}y"];

foreach (openssl_get_cipher_methods(true) as $method) {
    if (ctype_digit($method[0])) {
        continue; // An object identifier: the same cipher has a name, too.
    }
    $length = openssl_cipher_iv_length($method);
    if ($length === false) {
        fwrite(STDERR, "$method: PHP does not know its vector\n");
        continue;
    }
    $whole = substr(bin2hex(hash('sha512', $method, true)), 0, 2 * max($length, 1));
    $ivs = $length > 0 ? [null, $whole, substr($whole, 0, $length), $whole . 'ffff'] : [null];
    foreach ($keys as $number => $key) {
        foreach ($ivs as $iv) {
            // Every combination of key and vector, with one of the lengths of text each.
            $cut = $text . str_repeat(' ', $number * 3 + strlen((string) $iv) % 5);
            if (str_ends_with($method, 'wrap')) {
                $cut = str_pad($cut, (intdiv(strlen($cut), 8) + 1) * 8); // RFC 3394 wraps whole blocks of eight bytes.
            }
            $body = openssl_encrypt($cut, $method, $key, 0, $iv === null ? '' : hex2bin($iv));
            if ($body === false) {
                $why = openssl_error_string() ?: 'it asks for a tag, or for something else that the call has not';
                while (openssl_error_string());
                fwrite(STDERR, "$method: $why\n");
                break 2;
            }
            // What cannot be read back by PHP's own call is no vector.
            if (openssl_decrypt($body, $method, $key, 0, $iv === null ? '' : hex2bin($iv)) !== $cut) {
                fwrite(STDERR, "$method: PHP does not read back what it wrote\n");
                break 2;
            }
            $vector = ['method' => $method, 'key' => $key, 'iv' => $iv, 'text' => $cut, 'body' => $body];
            echo json_encode($vector, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
        }
    }
}
