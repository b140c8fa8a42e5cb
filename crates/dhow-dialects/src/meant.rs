//! What somebody may have meant who wrote a word that is not known.

/// The longest word that is compared with others, bytes.
const LONGEST: usize = 64;

/// The word of `known` that is so near to `written` that it may have been meant: a third of its
/// letters may differ, be missing or be swapped; case, `-` and `_` do not count.
pub fn meant<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if written.len() > LONGEST {
        return None;
    }
    let plain = |word: &str| word.replace(['_', '-'], "").to_ascii_lowercase();
    let written = plain(written);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&written, &plain(word)), word))
        .filter(|(distance, word)| *distance <= word.len() / 3)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_recognised() {
        let known = ["memory", "cpuTime", "cpu", "timeout", "idleTimeout"];
        for (written, word) in [
            ("memmory", Some("memory")),
            ("cpu_time", Some("cpuTime")),
            ("CPUTIME", Some("cpuTime")),
            ("timout", Some("timeout")),
            ("cup", Some("cpu")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(meant(written, known), word, "{written}");
        }
        assert_eq!(meant(&"m".repeat(100_000), known), None);
    }
}
