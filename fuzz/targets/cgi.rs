//! The header block of a CGI program, held against a slower and simpler reading of it.
#![no_main]

use dhow_guest::cgi::{HEADER_BLOCK, find_end, parse_block};
use http::{Response, StatusCode};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    if data.len() > HEADER_BLOCK {
        return Corpus::Reject;
    }
    let block = match find_end(data) {
        Some((end, body)) => {
            the_end_is_the_first_empty_line(data, end, body);
            &data[..end]
        }
        None => {
            assert!(lines(data).split_last().is_none_or(|(_, ended)| !ended.contains(&&b""[..])));
            data
        }
    };
    if let Ok(head) = parse_block(block) {
        the_head_is_what_the_lines_say(block, &head);
        #[cfg(feature = "planted")]
        planted(&head);
    }
    Corpus::Keep
});

fn the_end_is_the_first_empty_line(data: &[u8], end: usize, body: usize) {
    assert!(matches!(&data[end..body], b"\n" | b"\r\n"));
    assert!(end == 0 || data[end - 1] == b'\n');
    assert_eq!(find_end(&data[..body - 1]), None, "an earlier end was passed over");
}

fn the_head_is_what_the_lines_say(block: &[u8], head: &Response<()>) {
    let mut status = None;
    let mut fields: Vec<(String, &[u8])> = Vec::new();
    for line in lines(block).into_iter().filter(|line| !line.is_empty()) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().expect("a split has a first part").to_ascii_lowercase();
        let name = String::from_utf8(name).expect("a name that is accepted is ASCII");
        let value = halves.next().expect("a line that is accepted has a colon").trim_ascii();
        if name == "status" {
            let code = String::from_utf8_lossy(value);
            let code = code.split_ascii_whitespace().next().expect("a code").to_owned();
            status = Some(code.parse().expect("a number"));
        } else {
            fields.push((name, value));
        }
    }
    let said = |name: &str| fields.iter().any(|(field, _)| field == name);
    let otherwise = if said("location") { 302 } else { 200 };
    assert!(status.is_some() || said("location") || said("content-type"));
    assert_eq!(head.status().as_u16(), status.unwrap_or(otherwise));
    assert!(!head.status().is_informational());
    assert!(head.status() >= StatusCode::OK);

    assert_eq!(head.headers().len(), fields.len());
    for name in head.headers().keys() {
        let told = head.headers().get_all(name).iter().map(|value| value.as_bytes());
        let wanted = fields.iter().filter(|(field, _)| field == name.as_str());
        assert!(told.eq(wanted.map(|(_, value)| *value)), "{name}");
    }
}

fn lines(block: &[u8]) -> Vec<&[u8]> {
    let line = |line: &'_ [u8]| line.len() - usize::from(line.ends_with(b"\r"));
    block.split(|byte| *byte == b'\n').map(|whole| &whole[..line(whole)]).collect()
}

/// Wrongly holds that no teapot sets a cookie.
#[cfg(feature = "planted")]
fn planted(head: &Response<()>) {
    if head.status() == StatusCode::IM_A_TEAPOT {
        assert!(!head.headers().contains_key("set-cookie"), "planted");
    }
}
