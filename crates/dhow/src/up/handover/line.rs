//! The line between the old dhow and the new one: messages, and descriptors that go along.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::{Message, SOCKET};

/// Bytes of a message.
const MOST: usize = 16 << 10;
/// Descriptors that come along with one.
const MOST_DESCRIPTORS: usize = 16;
/// Bytes of a path that a socket's address takes (`sun_path` of `unix(7)`, with its end).
const MOST_PATH: usize = 107;

/// One end of the line.
#[derive(Debug)]
pub(in super::super) struct Line {
    stream: UnixStream,
}

/// The socket's address, and what keeps it valid.
pub(super) struct Address {
    pub(super) path: PathBuf,
    _folder: Option<File>,
}

impl Address {
    /// Of the file `name` in `folder`. One whose path is too long is reached by way of the folder's
    /// descriptor.
    pub(super) fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let direct = folder.join(name);
        if direct.as_os_str().len() <= MOST_PATH {
            return Ok(Self { path: direct, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()).into();
        Ok(Self { path, _folder: Some(folder) })
    }
}

impl Line {
    /// Reaches the dhow that has `folder`.
    pub(super) async fn connect(folder: &Path) -> io::Result<Self> {
        let address = Address::of(folder, SOCKET)?;
        Self::new(UnixStream::connect(&address.path).await?)
    }

    /// A line to whoever is at the other end, if that is this user's process, or root's.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let (peer, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
        if peer != own && peer != 0 {
            let why = format!("user {peer} has nothing to take over from user {own}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Self { stream })
    }

    pub(super) async fn send(&self, message: &Message, along: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        let mut sent = 0;
        while sent < bytes.len() {
            let part = &bytes[sent..];
            // Descriptors come with the first byte.
            let along = if sent == 0 { along } else { &[] };
            sent += self
                .stream
                .async_io(Interest::WRITABLE, || {
                    let mut space =
                        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
                    let mut control = SendAncillaryBuffer::new(&mut space);
                    if !along.is_empty() && !control.push(SendAncillaryMessage::ScmRights(along)) {
                        return Err(io::ErrorKind::InvalidInput.into());
                    }
                    let part = [IoSlice::new(part)];
                    Ok(sendmsg(&self.stream, &part, &mut control, SendFlags::NOSIGNAL)?)
                })
                .await?;
        }
        Ok(())
    }

    /// The next message, and what came along. Both ends speak in turn, so nothing follows it.
    pub(super) async fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let (mut bytes, mut along) = (Vec::new(), Vec::new());
        while bytes.last() != Some(&b'\n') {
            let (part, more) = self.stream.async_io(Interest::READABLE, || self.part()).await?;
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend(part);
            along.extend(more);
            if bytes.len() > MOST || along.len() > MOST_DESCRIPTORS {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
            }
        }
        Ok((serde_json::from_slice(&bytes)?, along))
    }

    fn part(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut bytes = vec![0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let read = recvmsg(&self.stream, &mut parts, &mut control, flags)?.bytes;
        let mut along = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                along.extend(descriptors);
            }
        }
        bytes.truncate(read);
        Ok((bytes, along))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one).unwrap(), Line::new(other).unwrap())
    }

    #[tokio::test]
    async fn a_message_arrives_with_its_descriptors() {
        let (one, other) = pair();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let said =
            Message::Listeners { version: "1".to_owned(), names: vec!["gateway".to_owned()] };
        one.send(&said, &[listener.as_fd()]).await.unwrap();
        let (heard, mut along) = other.receive().await.unwrap();
        assert_eq!(heard, said);
        let taken = std::net::TcpListener::from(along.remove(0));
        assert_eq!(taken.local_addr().unwrap(), listener.local_addr().unwrap());
        other.send(&Message::Release, &[]).await.unwrap();
        assert_eq!(one.receive().await.unwrap().0, Message::Release);
        drop(other);
        let gone = one.receive().await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_message_is_refused() {
        for wrong in [vec![b'x'; MOST + 1], b"{\"say\": \"what\"}\n".to_vec()] {
            let (one, other) = pair();
            let writes = tokio::spawn(async move {
                let mut stream = one.stream;
                // The other end may close before all of it is written.
                drop(tokio::io::AsyncWriteExt::write_all(&mut stream, &wrong).await);
                stream
            });
            let error = other.receive().await.unwrap_err();
            assert!(
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other),
                "{error}"
            );
            drop(other);
            writes.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_folder_with_a_long_path_is_reached_too() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let address = Address::of(&long, SOCKET).unwrap();
        let listener = tokio::net::UnixListener::bind(&address.path).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), Line::connect(&long));
        accepted.unwrap();
        connected.unwrap();
    }
}
