//! Every bound of the document layer, each with its reason.

/// Longest name of a database or a document, in bytes: an account id with a prefix, or a SIP address, fits.
pub const MAX_NAME_BYTES: usize = 256;

/// Largest document that a write may leave behind, in bytes of JSON. The largest real ones are call flows of some
/// tens of kilobytes. A merge may exceed it: refusing one would keep stores apart.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Deepest nesting of objects and arrays. Call flows nest some ten deep; recursion stays shallow on a 256 KB stack.
pub const MAX_DEPTH: usize = 32;

/// Most changes in one batch: a write makes one; the rest is room for writes that are committed together.
pub const MAX_BATCH_CHANGES: usize = 64;

/// Most bytes of changes in one batch. A change that replaces one document of [`MAX_DOCUMENT_BYTES`] by another
/// names the fields of both.
pub const MAX_BATCH_BYTES: usize = 768 * 1024;

/// Highest automerge operation counter accepted from outside. Counters grow by one an operation, so no honest
/// document comes near; the other half of the 32 bits that automerge keeps of them stays free for later edits.
pub const MAX_OPERATION: u64 = 1 << 31;

/// Largest encoded synchronisation message, in bytes: one batch of the largest kind and its envelope.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Bytes of batches after which a page of them ends. A single batch may be larger and then travels alone.
pub const BATCH_PAGE_BYTES: usize = 256 * 1024;

/// Most batches in one page: of the smallest there are, about [`BATCH_PAGE_BYTES`].
pub const BATCH_PAGE_COUNT: usize = 1024;

/// Most documents in one page of a digest: some 40 KB with names of 30 bytes and one head each.
pub const DIGEST_PAGE_DOCUMENTS: usize = 512;

/// Bytes after which a page of a digest ends, for names and heads at their longest.
pub const DIGEST_PAGE_BYTES: usize = 256 * 1024;

/// Most heads of one document that are told. There is one head for each node that wrote without having seen the
/// others' writes, and a cluster has at most 128 members.
pub const MAX_HEADS: usize = 256;

/// Most change hashes by which a store says what it has of a document: its heads, and one for each power of two
/// of batches below them.
pub const MAX_HAVE: usize = MAX_HEADS + 64;

/// Most rows that one call of `list`, `changes` or `databases` returns.
pub const MAX_PAGE_ROWS: usize = 1000;

/// Memory for cached pages of the store. redb's own choice of 1 GiB is more than a router has.
pub const CACHE_BYTES: usize = 8 * 1024 * 1024;
