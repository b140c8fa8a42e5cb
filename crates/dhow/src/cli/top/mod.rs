//! `dhow top`: what functions do now. On a terminal a table that is drawn anew, sorted by a column
//! that keys choose; elsewhere, and with `--once`, tables one after the other.

mod rows;
mod screen;

use std::thread;
use std::time::Duration;

use dhow_core::quantity::parse_duration;
use serde_json::Value;

use self::rows::{HEAD, Row, Sort, rows};
use self::screen::{Key, Screen};
use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::Stats;

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Look once, over one interval, and end
    #[arg(long)]
    pub once: bool,
    /// How long to look before figures are shown, and shown anew
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub interval: Duration,
    /// What to sort by, the most first
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// How to print it; a format that is not for people is for every interval one value
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Runs the command.
///
/// # Errors
/// When the server is not there or goes away.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let watch = Watch { client: Client::new(settings), settings };
    let for_people = matches!(args.output, Format::Table | Format::Wide);
    if for_people && !args.once && Screen::is_there() {
        return watch.draw(args);
    }
    let mut before = watch.look()?;
    for turn in 0.. {
        thread::sleep(args.interval);
        let now = watch.look()?;
        print(&rows(&before, &now, args.sort), turn, args, output)?;
        before = now;
        if args.once {
            break;
        }
    }
    Ok(())
}

struct Watch<'s> {
    client: Client,
    settings: &'s Settings,
}

impl Watch<'_> {
    fn look(&self) -> Result<Stats, CommandError> {
        Ok(self.client.stats(self.settings.namespace.as_ref())?.read)
    }

    /// Draws until a key says to end.
    fn draw(&self, args: &Args) -> Result<(), CommandError> {
        let mut sort = args.sort;
        let mut screen = Screen::enter()?;
        let (mut before, mut now) = (self.look()?, None);
        loop {
            let shown = rows(&before, now.as_ref().unwrap_or(&before), sort);
            let title = title(&shown, sort, args.interval, now.is_some());
            screen.draw(&title, &HEAD, &shown.iter().map(Row::cells).collect::<Vec<_>>())?;
            match screen.wait(args.interval) {
                Some(Key::End) => return Ok(()),
                Some(Key::Sort) => sort = sort.next(),
                None => {
                    let after = self.look()?;
                    if let Some(seen) = now.replace(after) {
                        before = seen;
                    }
                }
            }
        }
    }
}

fn title(rows: &[Row], sort: Sort, interval: Duration, has_looked: bool) -> String {
    if !has_looked {
        return format!("dhow top: looking for {} s; q ends", interval.as_secs_f64());
    }
    let rate: f64 = rows.iter().map(|row| row.rate).sum();
    let functions = rows.len();
    format!("dhow top: {functions} functions, {rate:.1} calls/s, by {sort}; s sorts, q ends")
}

fn print(rows: &[Row], turn: u64, args: &Args, output: &mut Output) -> Result<(), CommandError> {
    match args.output {
        Format::Json | Format::Yaml => {
            let values = rows.iter().map(Row::value).collect();
            if args.output == Format::Yaml && turn > 0 {
                output.line("---")?;
            }
            output.value(&Value::Array(values), args.output)?;
        }
        Format::Name => {
            for row in rows {
                output.line(&row.name)?;
            }
        }
        Format::Table | Format::Wide => {
            if turn > 0 {
                output.line("")?;
            }
            output.table(&HEAD, &rows.iter().map(Row::cells).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(interval) if interval >= Duration::from_millis(100) => Ok(interval),
        Ok(_) => Err("it is under 100ms".to_owned()),
        Err(why) => Err(why.to_string()),
    }
}
