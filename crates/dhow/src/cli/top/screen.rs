//! A terminal that is drawn anew, and its keys. Whatever happens, it is left as it was found.

use std::io::{self, IsTerminal as _, Stdout, Write as _, stdin, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anstyle::Style;
use termion::cursor::{Goto, HideCursor};
use termion::event;
use termion::input::TermRead as _;
use termion::raw::{IntoRawMode as _, RawTerminal};
use termion::screen::{AlternateScreen, IntoAlternateScreen as _};
use termion::{clear, style, terminal_size};

use crate::cli::output::table;

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: HideCursor<AlternateScreen<RawTerminal<Stdout>>>,
    keys: Receiver<Key>,
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Enough.
    End,
    /// Another order.
    Sort,
}

impl Screen {
    /// Whether a person sits at both ends.
    pub(super) fn is_there() -> bool {
        stdout().is_terminal() && stdin().is_terminal()
    }

    pub(super) fn enter() -> io::Result<Self> {
        let terminal = HideCursor::from(stdout().into_raw_mode()?.into_alternate_screen()?);
        let (sender, keys) = channel();
        // It waits for keys until the process ends; nothing else reads them meanwhile.
        thread::Builder::new().name("dhow-keys".to_owned()).spawn(move || {
            let keys = stdin().keys().map_while(Result::ok).filter_map(meaning);
            for key in keys {
                if sender.send(key).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { terminal, keys })
    }

    /// Draws a title and a table, as much as there is room for.
    pub(super) fn draw(
        &mut self,
        title: &str,
        head: &[&str],
        rows: &[Vec<String>],
    ) -> io::Result<()> {
        let (width, height) = terminal_size()?;
        let text = table(head, rows, Style::new());
        let lines = std::iter::once(title).chain(text.lines()).take(height.into());
        write!(self.terminal, "{}", clear::All)?;
        for (row, line) in (1..).zip(lines) {
            let line: String = line.chars().take(width.into()).collect();
            match row {
                2 => write!(
                    self.terminal,
                    "{}{}{line}{}",
                    Goto(1, row),
                    style::Invert,
                    style::Reset
                )?,
                _ => write!(self.terminal, "{}{line}", Goto(1, row))?,
            }
        }
        self.terminal.flush()
    }

    /// What a person wants within `time`.
    pub(super) fn wait(&self, time: Duration) -> Option<Key> {
        let until = Instant::now() + time;
        match self.keys.recv_timeout(time) {
            Ok(key) => Some(key),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody types any more.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(until.saturating_duration_since(Instant::now()));
                None
            }
        }
    }
}

fn meaning(key: event::Key) -> Option<Key> {
    match key {
        event::Key::Char('q') | event::Key::Esc | event::Key::Ctrl('c') => Some(Key::End),
        event::Key::Char('s') => Some(Key::Sort),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_title_says() {
        let typed = b"x\x03qs";
        let keys: Vec<_> = typed.keys().map_while(Result::ok).filter_map(meaning).collect();
        assert_eq!(keys, [Key::End, Key::End, Key::Sort]);
    }
}
