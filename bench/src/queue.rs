//! Asynchronous calls taken a second, each on disk before it is answered: many changes to a sync, as
//! dhow does it, and one change to a sync, as it would be without. What is taken is run at the same
//! time, so that a call makes three changes: it is kept, drawn and ended. In the second way each of
//! them has a sync of its own, not only the one that the client waits for.

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::load::{self, Load};
use crate::server::Server;

/// Connections that send calls.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// How many changes share a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sync {
    /// All that came up while the last one was waited for.
    Shared,
    /// One.
    Each,
}

/// One cell of one round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) sync: Sync,
    pub(crate) connections: usize,
    pub(crate) round: usize,
    pub(crate) load: Load,
}

impl Sync {
    /// Both ways, in the order of the table.
    pub(crate) const ALL: [Self; 2] = [Self::Shared, Self::Each];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "many changes to a sync",
            Self::Each => "one change to a sync (a call is three)",
        }
    }

    /// A transaction takes changes until it has this many bytes.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Shared => &[],
            Self::Each => &["--async-batch", "1"],
        }
    }
}

/// Both ways in turn, each on a server of its own. What is taken is run at the same time.
pub(crate) fn measure(args: &Args) -> Result<Vec<Taken>, String> {
    let guest = args.guests.join("c/hello/hello.wasm");
    let mut taken = Vec::new();
    for round in 0..args.rounds {
        for connections in CONNECTIONS {
            for sync in Sync::ALL {
                let server = Server::dhow_with(args, None, sync.options())?;
                server.deploy(args, "hello", &guest, &[])?;
                let url = format!("http://{}/async-function/hello", server.address);
                let load = load::run(&url, connections, args.seconds)?;
                taken.push(Taken { sync, connections, round, load });
            }
        }
    }
    Ok(taken)
}
