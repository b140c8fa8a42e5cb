//! What is wrong with a manifest, said field by field.

use std::fmt;

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// Where: `spec.limits.memory`, `spec.env[2].name`. Empty for the document as a whole.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// Everything that is wrong with a text of documents. Never empty; nothing of the text is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// In the order of the text.
    pub fields: Vec<FieldError>,
}

impl FieldError {
    /// `message` about the field at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The same, of the document `number` where there are several.
    pub(crate) fn in_document(self, number: Option<usize>) -> Self {
        let Some(number) = number else { return self };
        let Self { path, message } = self;
        let separator = if path.is_empty() { "" } else { ": " };
        Self::new(format!("document {number}{separator}{path}"), message)
    }
}

impl From<FieldError> for Problems {
    fn from(field: FieldError) -> Self {
        Self { fields: vec![field] }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.fields.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{field}")?;
        }
        Ok(())
    }
}
