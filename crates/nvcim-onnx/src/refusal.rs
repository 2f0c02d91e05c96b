//! Why a node cannot be imported.

use nvcim_ir::diag::Diagnostic;

/// The reason to refuse one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The node is sound, but cannot run here.
    Unsupported {
        /// What cannot be done.
        reason: String,
        /// What the user can do.
        hint: String,
    },
    /// The node contradicts the format or itself.
    Broken(String),
}

impl Refusal {
    /// A sound node that cannot run here.
    pub(crate) fn unsupported(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { reason: reason.into(), hint: hint.into() }
    }

    /// A node that contradicts the format or itself.
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::Broken(message.into())
    }

    /// An operator that would let samples of a batch meet.
    pub(crate) fn mixes_samples(reason: impl Into<String>) -> Self {
        Self::unsupported(
            reason,
            "export the network so that axis 0 of every tensor is the batch and stays in place",
        )
    }

    /// The refusal as a message about `node`.
    pub(crate) fn at(self, node: &str) -> Diagnostic {
        let at = format!("node `{node}`");
        match self {
            Self::Unsupported { reason, hint } => Diagnostic::unsupported(at, reason).hint(hint),
            Self::Broken(message) => broken_file(at, message),
        }
    }

    /// What is wrong, and what the user can do.
    pub(crate) fn explain(self) -> (String, String) {
        match self {
            Self::Unsupported { reason, hint } => (reason, hint),
            Self::Broken(message) => (message, CHECK.into()),
        }
    }
}

/// What helps where a file contradicts the format or itself.
const CHECK: &str =
    "look at the file with `onnx.checker.check_model(path, full_check=True)`, and export it again";

/// A file that contradicts the format or itself.
pub(crate) fn broken_file(at: impl Into<String>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::bad_input(at, message).hint(CHECK)
}
