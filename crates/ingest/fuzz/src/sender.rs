//! The sender's part: encrypts bodies, and sends passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::transport::BodyKey;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use serde_json::{Value, json};

/// A key with the length of the longest fixed key length. Other ciphers cut it.
pub(crate) const KEY: &str = "a key of thirty-two bytes, exact";
/// A text that no input contains by chance, and that must not appear in any output.
pub(crate) const PASSWORD: &str = "Kanari-0451";
/// The part that would reveal it, for a body that is cut within it.
pub(crate) const PASSWORD_START: &str = "Kanari-";

const PLACEHOLDER: &str = "\"@ password member @\"";
/// Spellings of the member's name in JSON.
const SPELLINGS: [&str; 4] = [r#""password""#, r#""Password""#, r#""p\u0061ssword""#, r#""PASSWORD""#];
/// The line length of PHP's `chunk_split`. Other lengths must also work.
const LINE_BYTES: usize = 76;

/// Returns the body as encrypted by PHP's `openssl_encrypt`, with or without line breaks, and the query with the
/// vector.
pub(crate) fn encrypt(key: &BodyKey, line_bytes: usize, text: &[u8]) -> (Vec<u8>, String) {
    let cipher = Cipher::fetch(None, key.cipher.name(), None).expect("the policy has it");
    let iv: Vec<u8> = (1..=u8::MAX).take(cipher.iv_length()).collect();
    let mut context = CipherCtx::new().expect("memory is there");
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    context.encrypt_init(Some(&cipher), None, None).expect("the cipher is there");
    // A cipher with a variable key length takes the whole key, as in PHP.
    let length = if cipher.key_length() < KEY.len() && context.set_key_length(KEY.len()).is_ok() {
        KEY.len()
    } else {
        cipher.key_length()
    };
    let vector = (!iv.is_empty()).then_some(iv.as_slice());
    context
        .encrypt_init(None, Some(&KEY.as_bytes()[..length]), vector)
        .expect("key and vector are as long as they should");
    let mut cipher_text = Vec::new();
    let done =
        context.cipher_update_vec(text, &mut cipher_text).and_then(|_| context.cipher_final_vec(&mut cipher_text));
    if done.is_err() {
        // The wrapping modes do not accept an empty text.
        cipher_text.clear();
    }
    let body = STANDARD.encode(&cipher_text);
    let line_bytes = if line_bytes == 0 { LINE_BYTES } else { line_bytes };
    let lines: Vec<&[u8]> = body.as_bytes().chunks(line_bytes).collect();
    let query: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
    (lines.join(&b"\r\n"[..]), format!("iv={query}"))
}

/// Returns `sent` as JSON with a password in its `place`-th object, cut after `cut` 255ths. Returns `None` when it is
/// not JSON or has no object.
pub(crate) fn with_password(place: u8, cut: u8, sent: &[u8]) -> Option<Vec<u8>> {
    if String::from_utf8_lossy(sent).contains(PASSWORD_START) {
        return None;
    }
    let mut value: Value = serde_json::from_slice(sent).ok()?;
    let objects = count(&value);
    let mut number = usize::from(place).checked_rem(objects)?;
    insert(&mut value, &mut number);
    let spelling = SPELLINGS[usize::from(place) % SPELLINGS.len()];
    let text = if place < 128 { value.to_string() } else { format!("{value:#}") };
    let mut body = text.replacen(PLACEHOLDER, spelling, 1).into_bytes();
    body.truncate(body.len() * usize::from(cut) / usize::from(u8::MAX));
    Some(body)
}

/// Returns an event with an unknown member.
pub(crate) fn with_text(text: &str) -> String {
    json!({"new": {"userId": 180}, "note": text, "timestamp": "2017-06-06T10:53:43+02:00"}).to_string()
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn insert(value: &mut Value, number: &mut usize) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(|member| insert(member, number));
            if *number == 0 {
                members.insert(PLACEHOLDER.trim_matches('"').to_owned(), Value::from(PASSWORD));
            }
            *number = number.wrapping_sub(1);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| insert(item, number)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
