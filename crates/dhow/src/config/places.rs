//! Where things are unless told otherwise, after the XDG base directory specification. The same
//! holds for root: a system's service is told its folders by its unit.

use std::path::PathBuf;

use xdg::BaseDirectories;

/// The first file of settings that there is, in the user's folder or in the system's.
pub(super) fn config_file() -> Option<PathBuf> {
    base().find_config_file("config.toml")
}

/// The data folder, `$XDG_DATA_HOME/dhow`. None without a home.
pub(super) fn data_folder() -> Option<PathBuf> {
    let folder = base().get_data_home()?;
    // Without the slash that the library puts at its end.
    Some(folder.components().collect())
}

fn base() -> BaseDirectories {
    BaseDirectories::with_prefix("dhow")
}
