//! The header block of a CGI answer (RFC 3875 section 6.3).

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The most that a header block may have, bytes.
pub const HEADER_BLOCK: usize = 64 << 10;

/// Why a header block is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// More than a block may have.
    #[error("the guest's headers have {0} bytes; at most {HEADER_BLOCK} are read")]
    TooLong(usize),
    /// A line that is no header.
    #[error("`{0}` is no header line")]
    Line(String),
    /// None of the headers that make an answer.
    #[error("the guest's headers have no Content-Type, Status or Location")]
    Untyped,
    /// A status that can't end a request.
    #[error("a guest can't answer with status {0}")]
    Informational(StatusCode),
}

/// Where the header block ends and where the body begins.
pub fn find_end(read: &[u8]) -> Option<(usize, usize)> {
    let mut line = 0;
    for (index, byte) in read.iter().enumerate() {
        if *byte == b'\n' {
            if matches!(&read[line..index], b"" | b"\r") {
                return Some((line, index + 1));
            }
            line = index + 1;
        }
    }
    None
}

/// The head that a header block stands for.
///
/// # Errors
/// When it is longer than [`HEADER_BLOCK`], or no header block.
pub fn parse_block(block: &[u8]) -> Result<Response<()>, BadBlock> {
    // It bounds the number of headers too: of more than 24,576 a HeaderMap can't hold the names.
    if block.len() > HEADER_BLOCK {
        return Err(BadBlock::TooLong(block.len()));
    }
    let mut status = None;
    let mut headers = HeaderMap::new();
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let wrong = || BadBlock::Line(String::from_utf8_lossy(line).into_owned());
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"status") {
            let code = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            status = Some(StatusCode::from_bytes(code).map_err(|_| wrong())?);
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value).map_err(|_| wrong())?;
        headers.append(name, value);
    }
    let status = match status {
        Some(status) => status,
        None if headers.contains_key(LOCATION) => StatusCode::FOUND,
        None if headers.contains_key(CONTENT_TYPE) => StatusCode::OK,
        None => return Err(BadBlock::Untyped),
    };
    if status.is_informational() {
        return Err(BadBlock::Informational(status));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(block: &str) -> Result<(u16, usize), String> {
        parse_block(block.as_bytes())
            .map(|head| (head.status().as_u16(), head.headers().len()))
            .map_err(|bad| bad.to_string())
    }

    #[test]
    fn a_block_ends_at_its_empty_line_whatever_ends_the_lines() {
        assert_eq!(find_end(b"a: b\n\nbody"), Some((5, 6)));
        assert_eq!(find_end(b"a: b\r\n\r\nbody"), Some((6, 8)));
        assert_eq!(find_end(b"\nbody"), Some((0, 1)));
        assert_eq!(find_end(b"a: b\n"), None);
    }

    #[test]
    fn the_status_is_told_or_follows() {
        assert_eq!(parse("Content-Type: text/plain\n"), Ok((200, 1)));
        assert_eq!(parse("Status: 404 Not Found\r\nX-A: b\r\n"), Ok((404, 1)));
        assert_eq!(parse("location: /there\n"), Ok((302, 1)));
        for wrong in ["", "X-A: b\n", "no colon\n", "Status: many\n", "a b: c\n", "Status: 101\n"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_block_of_the_greatest_length_is_read_whatever_it_names() {
        let mut block = "status: 200\n".to_owned();
        for line in (0_u32..).map(|number| format!("{number:x}:\n")) {
            if block.len() + line.len() > HEADER_BLOCK {
                break;
            }
            block.push_str(&line);
        }
        assert!(parse(&block).is_ok());
        block.push_str(&"\n".repeat(HEADER_BLOCK + 1 - block.len()));
        assert_eq!(parse_block(block.as_bytes()).err(), Some(BadBlock::TooLong(HEADER_BLOCK + 1)));
    }
}
