/** Z85 (https://rfc.zeromq.org/spec/32): how keys are written, 5 characters for 4 bytes. */
const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/** Of bytes in a multiple of four. */
export function z85(bytes: Buffer): string {
  let text = "";
  for (let offset = 0; offset < bytes.length; offset += 4) {
    let rest = bytes.readUInt32BE(offset);
    let five = "";
    for (let digit = 0; digit < 5; digit++) {
      five = DIGITS.charAt(rest % 85) + five;
      rest = Math.floor(rest / 85);
    }
    text += five;
  }
  return text;
}
