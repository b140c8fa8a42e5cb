//! Where callbacks arrive: an HTTP server that keeps what it is sent. It answers 200, and nothing
//! at all to `/never`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

/// One that runs.
pub(super) struct Sink {
    address: SocketAddr,
    got: Arc<Mutex<HashMap<String, Vec<Got>>>>,
}

/// What was sent.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) path: String,
    /// By their names in small letters.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Sink {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let got: Arc<Mutex<HashMap<String, Vec<Got>>>> = Arc::default();
        let kept = got.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { address, got }
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came last for a call.
    pub(super) fn take(&self, call: &str) -> Option<Got> {
        self.got.lock().get(call)?.last().cloned()
    }

    /// Calls for which something came, and how often.
    pub(super) fn counts(&self) -> HashMap<String, usize> {
        self.got.lock().iter().map(|(call, all)| (call.clone(), all.len())).collect()
    }
}

/// Answers what comes on one connection, until it ends, as it does when a server is killed.
fn serve(mut stream: TcpStream, kept: &Mutex<HashMap<String, Vec<Got>>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    while let Some(got) = read(&mut reader) {
        if got.path == "/never" {
            thread::sleep(Duration::from_secs(60));
            return;
        }
        let call = got.headers.get("x-call-id").cloned().unwrap_or_default();
        kept.lock().entry(call).or_default().push(got);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Got { path, headers, body })
}
