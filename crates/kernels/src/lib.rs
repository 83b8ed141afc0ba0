//! The arithmetic of koe: slices in, slices out.
