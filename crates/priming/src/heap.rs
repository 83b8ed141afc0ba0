//! Gives memory that was freed back to the system, which the allocator alone does late or never.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "malloc_trim is a C function")
)]

/// Has the allocator return what it holds in reserve. Nothing happens where it has no such call.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: It takes a number and touches only the allocator's own, locked state.
    unsafe {
        libc::malloc_trim(0);
    }
}
