//! Why a node cannot be imported.

use nvcim_ir::diag::Diagnostic;

#[cfg(test)]
mod golden;

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
        Self::unsupported(reason, APART)
    }

    /// Whether this is about samples that meet, which only the output's shape can tell.
    pub(crate) fn is_about_samples(&self) -> bool {
        matches!(self, Self::Unsupported { hint, .. } if hint == APART)
    }

    /// Whether hints belong to a refusal about samples that meet.
    pub(crate) fn hints_at_samples(hints: &[String]) -> bool {
        hints.iter().any(|hint| hint == APART)
    }

    /// An attribute whose text is none of those that the standard knows.
    pub(crate) fn unknown_choice(name: &str, found: &str, known: &[&str]) -> Self {
        Self::Broken(format!("has `{name}` `{found}`, must be {}", list_choices(known)))
    }

    /// An operand that is not there.
    pub(crate) fn lacks_operand(slot: usize) -> Self {
        let which = ["first", "second", "third", "fourth"].get(slot).unwrap_or(&"last");
        Self::Broken(format!("lacks its {which} operand"))
    }

    /// The refusal as a message about the node with this label.
    pub(crate) fn at(self, label: &str, op_type: &str) -> Diagnostic {
        let at = name_node(label, op_type);
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

/// A node as messages name it: by its label and the operator that it is.
pub(crate) fn name_node(label: &str, op_type: &str) -> String {
    format!("node `{label}` ({op_type})")
}

/// Texts in backticks, the last one behind "or".
fn list_choices(texts: &[&str]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("`{text}`")).collect();
    match quoted.split_last() {
        Some((last, front)) if !front.is_empty() => format!("{} or {last}", front.join(", ")),
        _ => quoted.concat(),
    }
}

/// What helps where samples would meet.
const APART: &str =
    "export the network so that no operator works along the batch, or for a fixed batch of 1";

/// What helps where a file contradicts the format or itself.
const CHECK: &str =
    "look at the file with `onnx.checker.check_model(path, full_check=True)`, and export it again";

/// A file that contradicts the format or itself.
pub(crate) fn broken_file(at: impl Into<String>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::bad_input(at, message).hint(CHECK)
}
