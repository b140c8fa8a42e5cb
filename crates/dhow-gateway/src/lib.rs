//! The HTTP front of dhow. It knows the ports of `dhow-core`, and neither the engine nor the store.

