//! What the toolchain tells its user: an output with its warnings, or every error found.

use std::fmt;

/// Which kind of failure a [`Diagnostic`] reports; the command line turns it into its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The file or data is broken, missing, unreadable or of a newer version.
    BadInput,
    /// The model uses something that cannot run here, or does not fit the chip.
    Unsupported,
    /// No correction meets the demand.
    Infeasible,
    /// A promise of the code does not hold: a defect of this toolchain.
    Internal,
}

/// A problem at one place of the network, chip or file, with hints to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of failure this is.
    pub kind: Kind,
    /// The file, node, tensor, tile, array or key that the problem sits at, by its user-visible name.
    pub at: String,
    /// What is wrong, with the limit that was broken; no full stop at the end.
    pub message: String,
    /// What the user can do.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// A broken or unreadable input at `at`.
    pub fn bad_input(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::BadInput, at, message)
    }

    /// Something at `at` that cannot run here.
    pub fn unsupported(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, at, message)
    }

    /// A defect of this toolchain, noticed at `at`.
    pub fn internal(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, at, message)
    }

    /// A problem of the given kind.
    pub fn new(kind: Kind, at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, at: at.into(), message: message.into(), hints: Vec::new() }
    }

    /// The same problem with one more remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same problem said to sit inside `place`, as `place: at`.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.at = if self.at.is_empty() { place.into() } else { format!("{place}: {}", self.at) };
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

impl From<Diagnostic> for Vec<Diagnostic> {
    fn from(diagnostic: Diagnostic) -> Self {
        vec![diagnostic]
    }
}

/// An output beside the warnings raised while it was made.
#[derive(Debug, Clone)]
pub struct Warned<T> {
    /// The output.
    pub output: T,
    /// The warnings, in the order they were raised.
    pub warnings: Vec<Diagnostic>,
}

impl<T> Warned<T> {
    /// An output without warnings.
    pub fn clean(output: T) -> Self {
        Self { output, warnings: Vec::new() }
    }

    /// Moves the warnings to the end of `warnings` and hands out the output.
    pub fn unload(self, warnings: &mut Vec<Diagnostic>) -> T {
        warnings.extend(self.warnings);
        self.output
    }
}

/// A result that carries every error found, not the first.
pub type Result<T> = std::result::Result<T, Vec<Diagnostic>>;

/// `Ok` when `problems` is empty.
pub fn fail_if_any(problems: Vec<Diagnostic>) -> Result<()> {
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
