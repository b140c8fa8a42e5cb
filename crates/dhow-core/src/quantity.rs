//! Sizes, durations and rates as people write them.
