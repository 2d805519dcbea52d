//! The client's half of HTTP/2 against frames that are written by hand.

use super::*;

fn state() -> State {
    State {
        closed: false,
        next_stream: 1,
        indexed: false,
        authority: "a".into(),
        out: BytesMut::new(),
        window: 100,
        peer_initial: 60,
        unread: 0,
        calls: HashMap::new(),
        blocked: Vec::new(),
    }
}

fn call(state: &mut State, id: u32) -> oneshot::Receiver<Result<Bytes, Failed>> {
    let (to, answer) = oneshot::channel();
    let window = state.peer_initial;
    state.calls.insert(id, Call { message: BytesMut::new(), window, unread: 0, to: To::Answer(to) });
    answer
}

#[test]
fn answers_are_put_together_from_any_pieces() {
    let mut wire = BytesMut::new();
    head(&mut wire, 7, DATA, 0, 1);
    wire.put_slice(b"\0\0\0\0\x05he");
    head(&mut wire, 3, DATA, 0, 1);
    wire.put_slice(b"llo");
    head(&mut wire, 1, HEADERS, END_HEADERS | END_STREAM, 1);
    wire.put_slice(b"x");
    for size in [1, 2, 9, 13, 100] {
        let (mut state, mut input) = (state(), BytesMut::new());
        let mut answer = call(&mut state, 1);
        for piece in wire.chunks(size) {
            input.put_slice(piece);
            frames(&mut state, &mut input).unwrap();
        }
        assert_eq!(answer.try_recv().unwrap(), Ok(Bytes::from_static(b"hello")));
        assert!(state.calls.is_empty() && input.is_empty());
    }
}

#[test]
fn a_stream_without_a_message_and_a_reset_are_errors() {
    for (kind, flags, failed) in [
        (HEADERS, END_STREAM, Failed::Grpc),
        (DATA, END_STREAM, Failed::Grpc),
        (RST_STREAM, 0, Failed::Broken),
    ] {
        let mut state = state();
        let mut answer = call(&mut state, 1);
        state.frame(kind, flags, 1, b"").unwrap();
        assert_eq!(answer.try_recv().unwrap(), Err(failed));
    }
    assert_eq!(state().frame(GOAWAY, 0, 0, b""), Err(Failed::Broken));
}

#[test]
fn what_the_peer_gives_no_window_for_waits_in_order() {
    let mut state = state();
    let _answers = (call(&mut state, 1), call(&mut state, 3), call(&mut state, 5));
    state.data(1, &[1; 45], 0).unwrap();
    state.data(3, &[2; 45], 0).unwrap();
    state.data(5, &[3; 45], 0).unwrap();
    // 100 bytes in all are enough for two frames of 50.
    assert_eq!((state.out.len(), state.blocked.len()), (2 * (HEAD + 50), 1));
    state.out.clear();
    state.data(1, &[4; 1], 0).unwrap();
    state.frame(WINDOW_UPDATE, 0, 0, &50u32.to_be_bytes()).unwrap();
    assert_eq!((state.out[5..HEAD].to_vec(), state.blocked.len()), (vec![0, 0, 0, 5], 1));
    state.frame(WINDOW_UPDATE, 0, 0, &50u32.to_be_bytes()).unwrap();
    assert!(state.blocked.is_empty());
}

#[test]
fn half_a_window_read_is_given_back() {
    let mut state = state();
    let _answer = call(&mut state, 1);
    let piece = vec![0; FRAME_MAX];
    for _ in 0..32 {
        state.frame(DATA, 0, 1, &piece).unwrap();
    }
    let mut both = BytesMut::new();
    window_update(&mut both, 0, WINDOW / 2);
    window_update(&mut both, 1, WINDOW / 2);
    assert_eq!(state.out, both);
}

#[test]
fn settings_and_pings_are_answered() {
    let mut state = state();
    let _answer = call(&mut state, 1);
    state.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 90]).unwrap();
    assert_eq!((state.peer_initial, state.calls[&1].window), (90, 90));
    state.frame(PING, 0, 0, b"12345678").unwrap();
    assert_eq!(&state.out[..], b"\0\0\0\x04\x01\0\0\0\0\0\0\x08\x06\x01\0\0\0\x0012345678");
}
