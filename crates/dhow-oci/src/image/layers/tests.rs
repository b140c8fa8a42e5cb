//! Layers as strangers may write them.
