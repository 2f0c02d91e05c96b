//! Digital operators as pure functions, and the executors built on them
