//! Everything that a system wrote, and the search for a text in it, however it is encoded.

use std::path::Path;

use kafka::Record;
use testkit::Answer;

/// Everything that the system wrote, piece by piece, each with where it was.
#[derive(Default)]
pub(super) struct Written {
    pub(super) pieces: Vec<(String, Vec<u8>)>,
}

impl Written {
    pub(super) fn answer(&mut self, name: &str, answer: &Answer) {
        self.pieces.push((format!("answer to {name}"), format!("{:?}", answer.headers).into_bytes()));
        self.pieces.push((format!("answer to {name}"), answer.body.to_vec()));
    }

    pub(super) fn record(&mut self, topic: &str, record: &Record) {
        let place = format!("{topic} at {}", record.position);
        let headers = record.headers.iter().flat_map(|(name, value)| [name.clone().into_bytes(), value.clone()]);
        let bytes = record.key.iter().chain(&record.value).cloned().chain(headers);
        self.pieces.extend(bytes.map(|bytes| (place.clone(), bytes)));
    }

    pub(super) fn folder(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                self.folder(&path);
            } else {
                let bytes = std::fs::read(&path).expect("the file can be read");
                self.pieces.push((path.display().to_string(), bytes));
            }
        }
    }

    /// Returns where any of the forms is.
    pub(super) fn leaks(&self, forms: &[Vec<u8>]) -> Vec<String> {
        let leaks = |bytes: &[u8]| forms.iter().any(|form| contains(bytes, form));
        self.pieces.iter().filter(|(_, bytes)| leaks(bytes)).map(|(place, _)| place.clone()).collect()
    }
}

/// Looks for a form in any case of its letters: hexadecimal digits have both.
pub(super) fn contains(bytes: &[u8], form: &[u8]) -> bool {
    bytes.windows(form.len()).any(|window| window.eq_ignore_ascii_case(form))
}

/// Returns the ways in which a text can stand in others.
pub(super) fn forms(text: &[u8]) -> Vec<Vec<u8>> {
    let each = |write: fn(&u8) -> String| text.iter().map(write).collect::<String>().into_bytes();
    let letter = |byte: &u8| char::from(*byte).is_ascii_alphanumeric().then(|| char::from(*byte).to_string());
    let percent: String = text.iter().map(|byte| letter(byte).unwrap_or_else(|| format!("%{byte:02x}"))).collect();
    let escaped: String = text.iter().map(|byte| letter(byte).unwrap_or_else(|| format!("\\u{byte:04x}"))).collect();
    let slashes = String::from_utf8_lossy(text).replace('/', "\\/");
    let numbers = text.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![
        text.to_vec(),
        each(|byte| format!("{byte:02x}")),
        each(|byte| format!("%{byte:02x}")),
        each(|byte| format!("\\u{byte:04x}")),
        each(|byte| format!("{}\0", char::from(*byte))),
        percent.into_bytes(),
        escaped.into_bytes(),
        slashes.into_bytes(),
        numbers.into_bytes(),
    ];
    // In the middle of a longer text its base64 depends on where a group of three begins; letters at both ends are
    // shared.
    for shift in 0..3 {
        let shifted = [&b"xx"[..shift], text].concat();
        let whole = &shifted[..shifted.len() - shifted.len() % 3];
        let encoded = openssl::base64::encode_block(whole);
        let own = encoded.as_bytes()[if shift == 0 { 0 } else { 4 }..].to_vec();
        let url_safe = own.iter().map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        });
        forms.push(url_safe.collect());
        forms.push(own);
    }
    forms
}
