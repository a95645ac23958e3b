//! Plans kept with prepared statements.
//!
//! Invariant: a plan is used again only where planning would give the same: see [`Planned::reusable`]. The catalog is
//! compared by identity; the weak reference keeps its address from being given to another one.

use hw_catalog::CatalogSnapshot;
use hw_sql::Planned;
use std::sync::{Arc, Weak};

/// The plan of one execution, and what it was made from beside the text.
struct Kept {
    catalog: Weak<CatalogSnapshot>,
    search_path: Vec<String>,
    planned: Planned,
}

/// The last plan of a prepared statement; shared by its copies.
#[derive(Clone, Default)]
pub(crate) struct LastPlan(Arc<arc_swap::ArcSwapOption<Kept>>);

impl LastPlan {
    /// The plan, where it still is what planning would give.
    pub(crate) fn get(&self, catalog: &Arc<CatalogSnapshot>, search_path: &[String]) -> Option<Planned> {
        let kept = self.0.load();
        let kept = kept.as_ref()?;
        let same = std::ptr::eq(kept.catalog.as_ptr(), Arc::as_ptr(catalog)) && kept.search_path == search_path;
        same.then(|| kept.planned.clone())
    }

    /// Keeps a plan that can be used again.
    pub(crate) fn put(&self, catalog: &Arc<CatalogSnapshot>, search_path: Vec<String>, planned: &Planned) {
        if planned.reusable {
            let kept = Kept { catalog: Arc::downgrade(catalog), search_path, planned: planned.clone() };
            self.0.store(Some(Arc::new(kept)));
        }
    }
}

impl std::fmt::Debug for LastPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.load().is_some() { "LastPlan(kept)" } else { "LastPlan(none)" })
    }
}
