//! The memory allocations that one request costs from its body to the bytes of its record. Their number does not depend
//! on the machine.

#![expect(unsafe_code, reason = "the allocator is replaced by one that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use domain::{UnixMillis, wire};
use ingest::pipeline;
use ingest::transport::{BodyPolicy, RawRequest, SenderPolicy, authenticate};

/// The most allocations from a received body to its event: 31 when this was written, 21 of them the event's own texts.
const ACCEPT_MAX: u64 = 40;
/// The most allocations for the bytes of a record.
const ENCODE_MAX: u64 = 1;
const NOW: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);
/// The vendor's sample of a change.
const BODY: &str = r#"{
    "old": {
        "userId": 180, "extension": "189", "name": "Rachel Smith", "email": "rachel.smith@company.com",
        "username": "rachel_smith", "isAgent": true, "privGroup": 4, "redistribution": 0, "monthly": 0, "hourly": 0,
        "state": "active", "registerTransport": "sip-tcp", "sampleRate": "global", "outboundPhone": "3617777777",
        "contactPhone": "", "messageLists": [], "mobileProjectId": null, "mobilePhone": null
    },
    "new": {
        "userId": 180, "extension": "189", "name": "Rachel Smith", "email": "rachel.smith@company.com",
        "username": "rachel_smith", "isAgent": true, "privGroup": 4, "redistribution": 1, "monthly": 0, "hourly": 0,
        "state": "active", "registerTransport": "sip-tcp", "sampleRate": "global", "outboundPhone": "3617777777",
        "contactPhone": "", "messageLists": [], "mobileProjectId": null, "mobilePhone": null
    },
    "timestamp": "2017-06-06T10:44:18+02:00"
}"#;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count of the calls of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator with the arguments that it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's duties are those of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

fn allocations<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let result = call();
    (result, ALLOCATIONS.get() - before)
}

#[test]
fn a_request_costs_few_allocations() {
    let head = RawRequest { query: String::new(), peer: std::net::Ipv4Addr::LOCALHOST.into(), forwarded_for: vec![] };
    let request = authenticate(&head, &SenderPolicy::default()).unwrap().sent(Bytes::from_static(BODY.as_bytes()));
    let policy = BodyPolicy::default();
    // What is made once for all requests does not count.
    drop(wire::encode(&pipeline::accept(&request, &policy, NOW).unwrap()));
    let (event, accepting) = allocations(|| pipeline::accept(&request, &policy, NOW).unwrap());
    let (_, encoding) = allocations(|| wire::encode(&event));
    assert!(accepting <= ACCEPT_MAX, "{accepting} allocations from a body to its event");
    assert!(encoding <= ENCODE_MAX, "{encoding} allocations for the bytes of a record");
}
