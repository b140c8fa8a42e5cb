//! dhow's own documents: whatever is read as functions is written as documents that read the same.
#![no_main]

use dhow_core::name::Label;
use dhow_dialects::document;
use dhow_dialects::native::{decode, encode, parse_documents};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let namespace = Label::default_namespace();
    match parse_documents(text, &namespace) {
        Ok(functions) => {
            for function in &functions {
                let document = encode(function);
                assert_eq!(decode(&document).as_ref(), Ok(function));
                let printed = document::print(&document);
                let read = parse_documents(&printed, &namespace);
                assert_eq!(read.as_deref(), Ok(std::slice::from_ref(function)), "{printed}");
            }
        }
        Err(problems) => {
            assert!(!problems.fields.is_empty(), "refused without a reason");
            #[cfg(feature = "planted")]
            planted(&problems);
            // What is no YAML is tried, but nothing is bred from it: it leads to more of the same.
            if document::parse(text).is_err() {
                return Corpus::Reject;
            }
        }
    }
    Corpus::Keep
});

/// Wrongly holds that nobody gets `limits.logs` wrong.
#[cfg(feature = "planted")]
fn planted(problems: &dhow_dialects::problem::Problems) {
    assert!(problems.fields.iter().all(|field| field.path != "spec.limits.logs"), "planted");
}
