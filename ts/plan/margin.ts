/** Left free for allocator slack, messages in flight, captured graphs: an estimate, a share of the device. */
export const MARGIN = 0.02;
