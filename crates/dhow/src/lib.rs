//! dhow's commands, and how its parts are joined: the client's side of the command line in
//! [`cli`], the server in [`up`], one call without a server in [`run`].

pub mod cli;
pub mod inspect;
pub mod run;
pub mod up;

mod local;
