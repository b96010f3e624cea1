//! Texts as they are searched and sorted: without case and without accents, in any language.
//!
//! A text is decomposed (Unicode's NFKD), so that a letter with an accent becomes the letter and a mark, and a wide or
//! a joined letter becomes plain ones. Marks that combine are left out. The case goes by Unicode's full mappings: to
//! lower, to upper and to lower again, by which `ẞ` and `ß` are `ss`, the final sigma is a sigma, and the Turkish
//! letters `İ` and `ı` are an `i`. Letters with a stroke and ligatures that Unicode does not decompose are in a table.
//!
//! Vowel signs of Indic and Thai script are no accents, and stay: they do not combine in Unicode's sense.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::canonical_combining_class;

/// The mark that is a letter in upper case: `ᾳ` is `ΑΙ`.
const IOTA_BELOW: char = '\u{345}';

/// Returns the text as it is searched.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        let is_folded = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        return if is_folded { Cow::Borrowed(text) } else { Cow::Owned(text.to_ascii_lowercase()) };
    }
    let mut folded = String::with_capacity(text.len());
    let letters = text.nfkd().filter(|letter| canonical_combining_class(*letter) == 0 || *letter == IOTA_BELOW);
    let lower = letters.flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    for letter in lower {
        match plain(letter) {
            Some(plain) => folded.push_str(plain),
            None => folded.push(letter),
        }
    }
    Cow::Owned(folded)
}

/// Returns what people type for a small letter or a sign that Unicode does not decompose.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'æ' => "ae",
        'ð' | 'đ' => "d",
        'ħ' => "h",
        'ł' => "l",
        'ŋ' => "n",
        'ø' => "o",
        'œ' => "oe",
        'þ' => "th",
        'ŧ' => "t",
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => "'",
        '\u{2010}' => "-",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_and_case_do_not_matter_in_any_language() {
        for (text, folded) in [
            ("Rachel SMITH", "rachel smith"),
            ("Straße STRASSE STRAẞE", "strasse strasse strasse"),
            ("José Nuñez-Ibáñez", "jose nunez-ibanez"),
            ("Jose\u{301}", "jose"),
            ("İstanbul ISPARTA ısparta", "istanbul isparta isparta"),
            ("Søren ØRSTED Åse", "soren orsted ase"),
            ("Đorđe Łukasz Ħamrun", "dorde lukasz hamrun"),
            ("Þóra Æsir Œuvre", "thora aesir oeuvre"),
            ("Őri Ágnes, Kovács Özséb", "ori agnes, kovacs ozseb"),
            ("Nguyễn Thị Ánh", "nguyen thi anh"),
            ("ΟΔΥΣΣΕΎΣ Οδυσσεύς", "οδυσσευσ οδυσσευσ"),
            ("Фёдор ЙОШКИН", "федор иошкин"),
            ("שָׁלוֹם", "שלום"),
            ("مُحَمَّد", "محمد"),
            ("王小明 ﾜﾝ", "王小明 ワン"),
            ("Ａｎｎ ﬁ Ⅳ", "ann fi iv"),
            ("O’Brien", "o'brien"),
            ("हिन्दी", "हिनदी"),
            ("", ""),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
        assert!("각".nfkd().eq(fold("각").chars()), "a syllable is found by its beginning");
        assert!(fold("한국").starts_with(&*fold("하")));
    }

    #[test]
    fn every_letter_is_folded_once_and_for_all_and_with_its_other_case() {
        // But for the ideographs, of which there are many.
        let letters = ('\0'..='\u{33ff}').chain('\u{a000}'..='\u{ac80}').chain('\u{d700}'..='\u{1ffff}');
        for letter in letters {
            let text = letter.to_string();
            let folded = fold(&text);
            assert_eq!(fold(&folded), folded, "{letter:?}");
            assert_eq!(fold(&text.to_lowercase()), folded, "{letter:?}");
            assert_eq!(fold(&text.to_uppercase()), folded, "{letter:?}");
            assert_eq!(fold(&text.nfc().collect::<String>()), folded, "{letter:?}");
        }
    }
}
