//! hw-coordinator
