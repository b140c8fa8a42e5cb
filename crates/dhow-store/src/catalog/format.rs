//! The format of a data folder, and how one of an older format becomes one of this.
//!
//! One number in the catalog's file speaks for the whole folder. Whatever an older dhow must not
//! pass over gets a new number and a step that leads there. All steps that a folder needs are one
//! transaction, with the new number: they happen whole or not at all. What they change outside of
//! the catalog must bear being done twice.
//!
//! | format | what is new |
//! |---|---|
//! | 1 | functions, revisions, the numbers that were given |
//! | 2 | the version that wrote the folder last, by which a newer format can be named |

use redb::{Database, ReadableDatabase as _, TableDefinition, WriteTransaction};

/// The format that is written and read.
pub(super) const FORMAT: u64 = 2;
/// The oldest format that can be made one of this.
pub(super) const OLDEST: u64 = 1;

/// Leads from one format to the next.
type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The first leads from [`OLDEST`], the last to [`FORMAT`].
const STEPS: [Step; (FORMAT - OLDEST) as usize] = [name_the_writer];

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const NUMBER: &str = "format";
/// Since format 2.
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
const WRITTEN_BY: &str = "written-by";

/// The version of this dhow.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) number: u64,
    /// The version that wrote it last, where the format has that.
    pub(super) written_by: Option<String>,
}

/// Gives a file its format: a new one, or one that has been led to it.
pub(super) fn set(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(META)?.insert(NUMBER, FORMAT)?;
    write.open_table(ABOUT)?.insert(WRITTEN_BY, VERSION)?;
    Ok(())
}

/// What the file says of itself; a file without a number has format 0.
pub(super) fn find(database: &Database) -> Result<Found, redb::Error> {
    let read = database.begin_read()?;
    let number = read.open_table(META)?.get(NUMBER)?.map_or(0, |number| number.value());
    let written_by = match read.open_table(ABOUT) {
        Ok(about) => about.get(WRITTEN_BY)?.map(|version| version.value().to_owned()),
        // Format 1 has none, and what a later one has is not known.
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => None,
    };
    Ok(Found { number, written_by })
}

/// Makes a file of format `from`, an older one, one of this.
pub(super) fn lead(write: &WriteTransaction, from: u64) -> Result<(), redb::Error> {
    for (step, leads_from) in STEPS.iter().zip(OLDEST..) {
        if leads_from >= from {
            step(write)?;
        }
    }
    set(write)
}

/// From 1 to 2: there is a place for the writer's version, which [`set`] fills.
fn name_the_writer(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(ABOUT)?;
    Ok(())
}
