//! Panics of the simulated nodes' tasks, which tokio would keep to itself.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics are noted, and still told on standard error.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The thread may be at its end, where nothing can be noted.
            let _ = PANIC.try_with(|noted| {
                if let Ok(mut noted) = noted.try_borrow_mut() {
                    noted.get_or_insert(panic.to_string());
                }
            });
            before(panic);
        }));
    });
}

/// The first panic on this thread since the last look.
pub(crate) fn take() -> Option<String> {
    PANIC.take()
}
