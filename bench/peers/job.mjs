// What the Node peers share: a job's measurements are timed and printed as bench/peers/job.py does.
// A job and a timing are described in bench/cases.ts.
const MARK = "@octavo-bench ";
const ANSWER = 16;

export const say = (message) => console.log(MARK + JSON.stringify(message));

/**
 * `start(prompt, row, limit)`: an async iterable of token ids, one per row, greedy and without stopping; ending the iteration ends
 * the request.
 */
export async function measure({ name, prompts, tokens, limit }, start) {
  const answer = [];
  let waiting = prompts.length;
  let made = 0;
  let allHaveOne = 0;
  let ended = 0;
  const began = performance.now();
  await Promise.all(
    prompts.map(async (prompt, row) => {
      let own = 0;
      for await (const token of start(prompt, row, limit)) {
        if (ended) break;
        if (row === 0 && answer.length < ANSWER) answer.push(token);
        made += 1;
        if (++own === 1 && --waiting === 0) {
          allHaveOne = performance.now();
          made = 0;
        }
        if (waiting === 0 && made >= prompts.length * tokens) {
          ended = performance.now();
          break;
        }
        if (own === limit) throw new Error(`${name}: rows ended early`);
      }
    }),
  );
  if (!ended) throw new Error(`${name}: rows ended early`);
  const seconds = (from, to) => (to - from) / 1000;
  return { name, first: seconds(began, allHaveOne), made, seconds: seconds(allHaveOne, ended), answer };
}
