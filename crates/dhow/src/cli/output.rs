//! The only place that prints. Data goes to stdout, everything else to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use dhow_dialects::document;
use serde_json::Value;

use super::colour;
use super::error::{CommandError, Kind};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with more columns
    Wide,
    /// Names alone, one a line
    Name,
    /// What the server said, as JSON
    Json,
    /// What the server said, as YAML
    Yaml,
}

/// Where a command prints.
pub struct Output {
    data: Box<dyn Write>,
    notes: Box<dyn Write>,
    data_is_terminal: bool,
    notes_are_terminal: bool,
    data_is_coloured: bool,
    notes_are_coloured: bool,
    /// A progress line stands on the terminal and is to be written over.
    line_is_open: bool,
    last_step: String,
    /// The last byte of data was not the end of a line.
    data_is_open: bool,
}

impl Output {
    /// To stdout and stderr.
    pub fn stdio() -> Self {
        Self {
            data: Box::new(io::BufWriter::new(io::stdout())),
            notes: Box::new(io::stderr()),
            data_is_terminal: io::stdout().is_terminal(),
            notes_are_terminal: io::stderr().is_terminal(),
            data_is_coloured: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            notes_are_coloured: AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            line_is_open: false,
            last_step: String::new(),
            data_is_open: false,
        }
    }

    /// Whether data would be shown to a person.
    pub fn data_is_terminal(&self) -> bool {
        self.data_is_terminal
    }

    /// Prints bytes of data as they are.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.close_line();
        self.data_is_open = bytes.last().map_or(self.data_is_open, |last| *last != b'\n');
        self.data.write_all(bytes)?;
        self.data.flush()
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn line(&mut self, line: impl Display) -> io::Result<()> {
        self.data(format!("{line}\n").as_bytes())
    }

    /// Prints a line that a guest wrote. On a terminal, nothing in it can move the cursor or
    /// change colours.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn foreign_line(&mut self, line: &str) -> io::Result<()> {
        if self.data_is_terminal { self.line(harmless(line)) } else { self.line(line) }
    }

    /// Prints a line that something has lost, in red on a terminal.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn removed(&mut self, line: &str) -> io::Result<()> {
        self.change("-", "31", line)
    }

    /// Prints a line that something has gained, in green on a terminal.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn added(&mut self, line: &str) -> io::Result<()> {
        self.change("+", "32", line)
    }

    fn change(&mut self, sign: &str, colour: &str, line: &str) -> io::Result<()> {
        if self.data_is_terminal {
            self.line(format_args!("\x1b[{colour}m{sign} {}\x1b[0m", harmless(line)))
        } else {
            self.line(format_args!("{sign} {line}"))
        }
    }

    /// Prints what the server said, in a format for machines.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn value(&mut self, value: &Value, format: Format) -> io::Result<()> {
        match format {
            Format::Yaml => self.data(document::print(value).as_bytes()),
            _ => self.line(format_args!("{value:#}")),
        }
    }

    /// Prints rows under a head.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let style = if self.data_is_coloured { colour::HEAD } else { Style::new() };
        self.data(table(head, rows, style).as_bytes())
    }

    /// `text` in this style, where data has colours.
    pub fn styled(&self, style: Style, text: impl Display) -> String {
        if self.data_is_coloured { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Tells the person something that is not data.
    pub fn note(&mut self, text: impl Display) {
        self.close_line();
        // Data such as a function's answer may leave a terminal's cursor in the middle of a line.
        let both = self.data_is_terminal && self.notes_are_terminal;
        let begin = if both && std::mem::take(&mut self.data_is_open) { "\n" } else { "" };
        self.write_note(&format!("{begin}{text}\n"));
    }

    /// Tells how far a long step is: one line that changes on a terminal, else a line for each
    /// new `step`. `detail` is what changes within a step.
    pub fn progress(&mut self, step: &str, detail: &str) {
        if self.notes_are_terminal {
            self.write_note(&format!("\r\x1b[K{step}{detail}"));
            self.line_is_open = true;
        } else if self.last_step != step {
            self.write_note(&format!("{step}\n"));
        }
        step.clone_into(&mut self.last_step);
    }

    /// Shows why a command failed.
    pub fn error(&mut self, error: &CommandError) {
        if matches!(error.kind, Kind::Silent | Kind::Closed) {
            return;
        }
        self.labelled("error", colour::ERROR, &error.message);
        for detail in &error.details {
            self.note(format_args!("  {detail}"));
        }
        error.hints.iter().for_each(|hint| self.hint(hint));
    }

    /// Says what to do next.
    pub fn hint(&mut self, hint: impl Display) {
        self.labelled("hint", colour::HINT, hint);
    }

    fn labelled(&mut self, label: &str, style: Style, text: impl Display) {
        let style = if self.notes_are_coloured { style } else { Style::new() };
        self.note(format_args!("{style}{label}:{style:#} {text}"));
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.line_is_open) {
            self.write_note("\r\x1b[K");
        }
    }

    fn write_note(&mut self, text: &str) {
        // When stderr is closed there is nobody left to be told so.
        let _ = self.notes.write_all(text.as_bytes());
        let _ = self.notes.flush();
    }
}

/// Rows under a head, in columns.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| lines().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (nth, line) in lines().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let cells = cells.collect::<Vec<_>>().join("   ");
        let style = if nth == 0 { style } else { Style::new() };
        text.push_str(&format!("{style}{}{style:#}\n", cells.trim_end()));
    }
    text
}

fn harmless(line: &str) -> String {
    line.chars()
        .flat_map(|c| {
            let escaped = c.is_control() && c != '\t';
            let plain = (!escaped).then_some(c);
            plain.into_iter().chain(escaped.then(|| c.escape_debug()).into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What was printed, kept.
    #[derive(Clone, Default)]
    pub(in super::super) struct Kept(Rc<RefCell<Vec<u8>>>);

    impl Kept {
        pub(in super::super) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output, and what it printed as data and as notes.
    pub(in super::super) fn kept(terminal: bool) -> (Output, Kept, Kept) {
        let (data, notes) = (Kept::default(), Kept::default());
        let output = Output {
            data: Box::new(data.clone()),
            notes: Box::new(notes.clone()),
            data_is_terminal: terminal,
            notes_are_terminal: terminal,
            data_is_coloured: false,
            notes_are_coloured: false,
            line_is_open: false,
            last_step: String::new(),
            data_is_open: false,
        };
        (output, data, notes)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["höher".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "N"], &rows, Style::new()), "NAME    N\na       1\nhöher\n");
        assert_eq!(table(&["NAME"], &[], Style::new()), "NAME\n");
    }

    #[test]
    fn a_guest_can_not_reach_the_terminal_through_its_log() {
        let (mut output, data, _) = kept(true);
        output.foreign_line("a\tb \x1b[31mred\x07 \u{9b}x ä").unwrap();
        assert_eq!(data.text(), "a\tb \\u{1b}[31mred\\u{7} \\u{9b}x ä\n");
        let (mut output, data, _) = kept(false);
        output.foreign_line("\x1b[31m").unwrap();
        assert_eq!(data.text(), "\x1b[31m\n");
    }

    #[test]
    fn progress_is_one_line_on_a_terminal_and_a_line_per_step_elsewhere() {
        let steps = [("compiling", ""), ("compiling", " 1 s"), ("compiled", "")];
        let (mut output, _, notes) = kept(false);
        steps.iter().for_each(|(step, detail)| output.progress(step, detail));
        assert_eq!(notes.text(), "compiling\ncompiled\n");
        let (mut output, data, notes) = kept(true);
        steps.iter().for_each(|(step, detail)| output.progress(step, detail));
        output.line("done").unwrap();
        assert!(!notes.text().contains('\n'));
        assert!(notes.text().ends_with("compiled\r\x1b[K"));
        assert_eq!(data.text(), "done\n");
    }

    #[test]
    fn a_note_on_a_terminal_begins_a_line() {
        let (mut output, _, notes) = kept(true);
        output.data(b"answer").unwrap();
        output.note("one");
        output.note("two");
        output.data(b"line\n").unwrap();
        output.note("three");
        assert_eq!(notes.text(), "\none\ntwo\nthree\n");
        let (mut output, _, notes) = kept(false);
        output.data(b"answer").unwrap();
        output.note("one");
        assert_eq!(notes.text(), "one\n");
    }

    #[test]
    fn an_error_says_what_its_parts_and_what_to_do() {
        let (mut output, data, notes) = kept(false);
        let mut error = CommandError::failure("it failed").hint("do this").hint("");
        error.details.push("a: b".to_owned());
        output.error(&error);
        output.error(&CommandError::silent());
        assert_eq!(notes.text(), "error: it failed\n  a: b\nhint: do this\n");
        assert_eq!(data.text(), "");
    }

    #[test]
    fn colours_are_on_the_words_that_say_what_a_line_is() {
        let (mut output, data, notes) = kept(true);
        (output.data_is_coloured, output.notes_are_coloured) = (true, true);
        output.error(&CommandError::failure("it failed").hint("do this"));
        let said = "\x1b[1m\x1b[31merror:\x1b[0m it failed\n\x1b[36mhint:\x1b[0m do this\n";
        assert_eq!(notes.text(), said);
        output.table(&["NAME"], &[vec!["a".to_owned()]]).unwrap();
        assert_eq!(data.text(), "\x1b[1mNAME\x1b[0m\na\n");
    }
}
