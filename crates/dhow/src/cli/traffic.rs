//! `dhow traffic NAME [N=WEIGHT…]`.

use std::str::FromStr;

use clap_complete::engine::ArgValueCompleter;
use dhow_core::traffic::{Share, Traffic};

use super::client::Client;
use super::complete;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::{Settings, short_name};
use super::wire::{FunctionStatus, ShareStatus};

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// Weights of revisions, which replace those that are set; without any, shows those
    #[arg(value_name = "N=WEIGHT")]
    pub weights: Vec<Weight>,
    /// Send every call to the revision in force
    #[arg(long, conflicts_with = "weights")]
    pub clear: bool,
    /// How to print the weights
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// `N=WEIGHT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight(Share);

impl FromStr for Weight {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "write the number of a revision, `=` and its weight, such as 3=10";
        let (revision, weight) = text.split_once('=').ok_or(EXPECTED)?;
        let (revision, weight) = (revision.parse().ok(), weight.parse().ok());
        match (revision, weight) {
            (Some(revision), Some(weight)) => Ok(Self(Share { revision, weight })),
            _ => Err(EXPECTED),
        }
    }
}

/// Runs the command. Once it returns, calls are spread so.
///
/// # Errors
/// When there is no such function or revision, or the weights make no sense, or the server is not
/// there.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let name = settings.function(&args.name)?;
    let client = Client::new(settings);
    let function = if args.clear {
        client.clear_traffic(&name)?
    } else if args.weights.is_empty() {
        client.function(&name)?
    } else {
        let shares = args.weights.iter().map(|weight| weight.0).collect();
        let traffic = Traffic::new(shares)
            .map_err(|error| CommandError::usage(format!("these weights can't be: {error}")))?;
        client.split_traffic(&name, &traffic)?
    };
    let FunctionStatus { revision, traffic, .. } = &function.read;
    match args.output {
        Format::Json | Format::Yaml => {
            let weights = function.raw.get("traffic").cloned();
            output.value(&weights.unwrap_or_else(|| serde_json::json!([])), args.output)?;
        }
        Format::Name => {
            for share in traffic {
                output.line(share.revision)?;
            }
        }
        Format::Table | Format::Wide if traffic.is_empty() => {
            let shown = short_name(&name);
            output.note(format_args!("{shown}: every call goes to revision {revision}"));
        }
        Format::Table | Format::Wide => output.table(&HEAD, &rows(traffic))?,
    }
    Ok(())
}

const HEAD: [&str; 3] = ["REVISION", "WEIGHT", "SHARE"];

fn rows(traffic: &[ShareStatus]) -> Vec<Vec<String>> {
    let sum: u32 = traffic.iter().map(|share| share.weight).sum();
    let row = |share: &ShareStatus| {
        let part = 100.0 * f64::from(share.weight) / f64::from(sum.max(1));
        vec![share.revision.to_string(), share.weight.to_string(), format!("{part:.1} %")]
    };
    traffic.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_two_numbers() {
        assert_eq!("3=10".parse(), Ok(Weight(Share { revision: 3, weight: 10 })));
        for wrong in ["", "3", "=", "3=", "=10", "3=-1", "a=1", "3=1=1"] {
            assert!(wrong.parse::<Weight>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_told_in_hundredths() {
        let shares = [(1, 2), (7, 1)].map(|(revision, weight)| ShareStatus { revision, weight });
        assert_eq!(rows(&shares), [["1", "2", "66.7 %"], ["7", "1", "33.3 %"]]);
        assert_eq!(rows(&shares)[0].len(), HEAD.len());
    }
}
