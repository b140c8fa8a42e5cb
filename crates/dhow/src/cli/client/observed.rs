//! What is seen of functions and of those who control them: outcomes, figures, logs, the audit log.

use dhow_core::name::{FunctionName, Label};

use super::{Answer, Client, LogQuery, encode, lines, path_of};
use crate::cli::error::CommandError;
use crate::cli::wire::{AuditRecord, CallOutcome, Items, LogLine, Stats};

impl Client {
    /// The last outcomes of a function's calls, or that of one call.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn outcomes(
        &self,
        name: &FunctionName,
        limit: u32,
        call: Option<&str>,
    ) -> Result<Answer<Items<CallOutcome>>, CommandError> {
        let call = call.map(|call| format!("&call={}", encode(call))).unwrap_or_default();
        self.about(name, self.get(&format!("{}/outcomes?limit={limit}{call}", path_of(name))))
    }

    /// The last outcomes that are `failed`, or `cold`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn rare_outcomes(
        &self,
        name: &FunctionName,
        limit: u32,
        only: &str,
    ) -> Result<Answer<Items<CallOutcome>>, CommandError> {
        self.about(name, self.get(&format!("{}/outcomes?limit={limit}&only={only}", path_of(name))))
    }

    /// What functions did until now, of one namespace or of all.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn stats(&self, namespace: Option<&Label>) -> Result<Answer<Stats>, CommandError> {
        let query = namespace.map(|namespace| format!("?namespace={namespace}"));
        self.get(&format!("/api/v1/stats{}", query.unwrap_or_default()))
    }

    /// The newest records of the audit log, none older than `since` seconds.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn audit(
        &self,
        tail: u32,
        since: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<Answer<AuditRecord>, CommandError>> + use<>, CommandError>
    {
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        let url = self.url(&format!("/api/v1/audit?tail={tail}{since}"));
        Ok(lines(self.send(http::Request::get(url).body(()))?))
    }

    /// Lines that a function's calls wrote.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn logs(
        &self,
        name: &FunctionName,
        query: &LogQuery,
    ) -> Result<impl Iterator<Item = Result<Answer<LogLine>, CommandError>> + use<>, CommandError>
    {
        let url = self.url(&format!("{}/logs{}", path_of(name), query.encode()));
        Ok(lines(self.about(name, self.send(http::Request::get(url).body(())))?))
    }
}
