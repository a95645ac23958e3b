//! hw-catalog
