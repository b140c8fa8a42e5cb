//! The first call of a function that this process never loaded, its code on disk, beside a warm
//! call of the same function on the same connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::report::median;
use crate::server::Server;

/// What first calls of one guest cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cold {
    pub(crate) guest: String,
    /// Milliseconds over a warm call that are good enough, and that are aimed at.
    pub(crate) floor: f64,
    pub(crate) aim: f64,
    /// The very first call that the process answered, which also pays for pages of dhow itself.
    pub(crate) first_of_process: f64,
    /// First calls, microseconds.
    pub(crate) first: Vec<f64>,
    /// Calls of the same functions once they were loaded.
    pub(crate) warm: Vec<f64>,
}

impl Cold {
    /// Milliseconds that a first call takes more than a warm one.
    pub(crate) fn over_warm(&self) -> f64 {
        (median(&self.first) - median(&self.warm)) / 1e3
    }
}

/// Every guest in turn. A server that has deployed the functions is ended and started again, so
/// that nothing is loaded.
pub(crate) fn measure(args: &Args) -> Result<Vec<Cold>, String> {
    let built = std::env::var_os("DHOW_GUEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/dhow/guests")));
    let js = built.map(|folder| folder.join("js-hello.wasm"));
    // The one guest that is not committed: `guests/build.sh js` builds it.
    let js = js.ok_or("no folder of built guests: neither DHOW_GUEST_CACHE nor HOME is set")?;
    let small = |name, path: &str| Guest {
        name,
        path: args.guests.join(path),
        copies: args.cold,
        floor: 0.3,
        aim: 0.1,
    };
    [
        small("http lean", "rust/http-lean/http-lean.wasm"),
        small("http std", "rust/http-std/http-std.wasm"),
        small("command", "c/hello/hello.wasm"),
        Guest { name: "JavaScript, 13 MB", path: js, copies: JS_COPIES, floor: 4.0, aim: 2.0 },
    ]
    .into_iter()
    .map(|guest| one(args, &guest))
    .collect()
}

/// Few, since each takes long to compile.
const JS_COPIES: usize = 3;

/// A guest to deploy under several names, as a module of its own each time.
struct Guest {
    name: &'static str,
    path: PathBuf,
    copies: usize,
    floor: f64,
    aim: f64,
}

fn one(args: &Args, guest: &Guest) -> Result<Cold, String> {
    let Guest { name, ref path, copies, floor, aim } = *guest;
    let module = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let server = Server::dhow(args, None)?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for copy in 0..=copies {
        let path = folder.path().join(format!("{copy}.wasm"));
        std::fs::write(&path, distinct(&module, copy)).map_err(|error| error.to_string())?;
        server.deploy(args, &format!("f{copy}"), &path, &[])?;
    }
    let server = Server::dhow(args, server.end())?;
    let mut connection = Connection::open(&server.address)?;
    let first_of_process = connection.call("/function/f0")?;
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for copy in 1..=copies {
        let path = format!("/function/f{copy}");
        first.push(connection.call(&path)?);
        connection.call(&path)?;
        warm.push(connection.call(&path)?);
    }
    Ok(Cold { guest: name.to_owned(), floor, aim, first_of_process, first, warm })
}

/// The module with a custom section of its own, and so with a digest of its own.
pub(crate) fn distinct(module: &[u8], copy: usize) -> Vec<u8> {
    let name = format!("copy{copy:05}");
    let mut module = module.to_vec();
    module.push(0);
    module.push(u8::try_from(name.len() + 1).unwrap_or(u8::MAX));
    module.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    module.extend_from_slice(name.as_bytes());
    module
}

/// One kept connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Calls and reads the answer, which has to be 200 with a length or chunks. Microseconds.
    pub(crate) fn call(&mut self, path: &str) -> Result<f64, String> {
        let began = Instant::now();
        self.exchange(path).map_err(|error| format!("{path}: {error}"))?;
        Ok(began.elapsed().as_secs_f64() * 1e6)
    }

    fn exchange(&mut self, path: &str) -> std::io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut length = None;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(std::io::Error::other(line));
        }
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            match header.strip_prefix("content-length: ") {
                Some(value) => length = value.parse::<u64>().ok(),
                None if header.is_empty() => break,
                None => {}
            }
        }
        match length {
            Some(length) => {
                let mut body = Vec::new();
                self.0.by_ref().take(length).read_to_end(&mut body)?;
            }
            None => self.chunks()?,
        }
        Ok(())
    }

    fn chunks(&mut self) -> std::io::Result<()> {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = Vec::new();
            self.0.by_ref().take(length + 2).read_to_end(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_differ_and_stay_modules() {
        let module = b"\0asm\x01\0\0\0";
        let (one, two) = (distinct(module, 1), distinct(module, 2));
        assert_ne!(one, two);
        // Section 0, its length, the length of its name, the name and no content.
        assert_eq!(one[8..], *b"\0\x0a\x09copy00001");
    }
}
