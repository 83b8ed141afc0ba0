//! Gives memory that was freed back to the system, which the allocator alone does late or never.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "malloc_trim and mallopt are C functions")
)]

/// Has the allocator return what it holds in reserve and keep less from now on, in the whole process.
/// Without it, memory that
/// a burst of threads used stays with them: glibc raises its own thresholds to 64 MB after one large
/// buffer, and gives back the end of only one of its heaps when asked to. Nothing happens where
/// the allocator is another.
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEPT_BYTES: libc::c_int = 1 << 20;
        // SAFETY: They take numbers and touch only the allocator's own, locked state.
        unsafe {
            // Setting either ends the raising of both.
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        }
        trim();
    }
}

/// Has the allocator return what it holds in reserve. Nothing happens where it has no such call.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: It takes a number and touches only the allocator's own, locked state.
    unsafe {
        libc::malloc_trim(0);
    }
}
