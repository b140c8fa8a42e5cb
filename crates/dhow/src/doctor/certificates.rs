//! Certificates: the server's own, and those that are named.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::finding::{Finding, Look};
use super::{Subject, unseen};

/// How long before its end a certificate is to be renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// From when until when a certificate of a file holds.
struct Validity {
    file: PathBuf,
    begins: SystemTime,
    ends: SystemTime,
}

/// Files that no certificate can be read of.
pub(super) fn unreadable(subject: &Subject<'_>) -> Look {
    let files = named(subject);
    if files.is_empty() {
        return unnamed();
    }
    let findings = files.iter().filter_map(|file| {
        let why = read(file).err()?;
        let at = file.display();
        Some(Finding::new(
            format!("no certificate can be read of {at}: {why}"),
            format!(
                "`openssl x509 -noout -text -in {at}` has to show one; mind who may read the file"
            ),
        ))
    });
    Look::of(findings.collect(), || format!("{} can be read", shown(&files)))
}

/// Certificates that do not hold now.
pub(super) fn expired(subject: &Subject<'_>) -> Look {
    judged(subject, |one, now| {
        let at = one.file.display();
        if one.ends < now {
            let ago = days(now.duration_since(one.ends).unwrap_or_default());
            Some(Finding::new(format!("the certificate {at} ended {ago} ago"), renew(&one.file)))
        } else if one.begins > now {
            let ahead = days(one.begins.duration_since(now).unwrap_or_default());
            Some(Finding::new(
                format!("the certificate {at} holds only in {ahead}"),
                "check this machine's clock, `timedatectl`; else wait, or use the one before",
            ))
        } else {
            None
        }
    })
}

/// Certificates that hold no longer soon.
pub(super) fn ending(subject: &Subject<'_>) -> Look {
    judged(subject, |one, now| {
        let left = one.ends.duration_since(now).ok().filter(|left| *left < SOON)?;
        let at = one.file.display();
        Some(Finding::new(format!("the certificate {at} ends in {}", days(left)), renew(&one.file)))
    })
}

fn judged(subject: &Subject<'_>, judge: impl Fn(&Validity, SystemTime) -> Option<Finding>) -> Look {
    let files = named(subject);
    if files.is_empty() {
        return unnamed();
    }
    // What can't be read is told by a check of its own.
    let readable: Vec<Validity> =
        files.iter().filter_map(|file| read(file).ok()).flatten().collect();
    if readable.is_empty() {
        return unseen("no certificate can be read");
    }
    let findings = readable.iter().filter_map(|one| judge(one, subject.now)).collect();
    Look::of(findings, || format!("{} holds", shown(&files)))
}

/// Every certificate of a file, read as TLS reads it.
fn read(file: &Path) -> Result<Vec<Validity>, String> {
    let pem = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    let certificates = pem
        .map(|der| {
            let der = der.map_err(|error| error.to_string())?;
            let certificate = Certificate::from_der(&der).map_err(|error| error.to_string())?;
            let validity = certificate.tbs_certificate.validity;
            Ok(Validity {
                file: file.to_owned(),
                begins: validity.not_before.to_system_time(),
                ends: validity.not_after.to_system_time(),
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    if certificates.is_empty() { Err("none is in it".to_owned()) } else { Ok(certificates) }
}

/// The server's own, and the others that are named.
fn named(subject: &Subject<'_>) -> Vec<PathBuf> {
    subject.args.tls_cert.iter().chain(&subject.args.certificates).cloned().collect()
}

fn renew(file: &Path) -> String {
    format!("renew it and put the new one, with its key, in the place of {}", file.display())
}

fn days(time: Duration) -> String {
    match time.as_secs() / (24 * 3600) {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn unnamed() -> Look {
    unseen("no certificate is named with --tls-cert or --certificate")
}
