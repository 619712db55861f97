/** One thing that `octavo doctor` looks at, and what it found. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Whether Octavo cannot answer a prompt without it. */
  readonly needed: boolean;
  /** What was found, or what is wrong. */
  readonly detail: string;
  /** What to do. */
  readonly fix?: string;
}
