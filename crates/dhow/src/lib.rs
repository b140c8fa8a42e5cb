//! dhow's commands, and how its parts are joined: the client's side of the command line in
//! [`cli`], the server in [`up`], copies of what it keeps in [`backup`] and [`restore`], one call
//! without a server in [`run`], images in [`images`]. [`config`] says what was meant where little
//! was typed, [`doctor`] what is wrong.

pub mod backup;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod images;
pub mod inspect;
pub mod login;
pub mod pull;
pub mod push;
pub mod restore;
pub mod run;
pub mod up;

mod local;
mod modules;
mod notify;
