// @azure/batch 10 for node. Does what it is told, like answering.py: calls come as lines of JSON on
// the standard input, and so do their results on the standard output.
"use strict";

const readline = require("node:readline");
const { createRequire } = require("node:module");

const load = createRequire(process.argv[2] + "/"); // Where its node_modules are.
const { BatchServiceClient, BatchServiceMappers, BatchSharedKeyCredentials } = load("@azure/batch");
const { TokenCredentials } = load("@azure/ms-rest-js");

const TASKS_MAX = 100; // Of one request; this client leaves it to its user to cut them.

let batch = null;

// Options as this client spells them: ifMatch for if_match, and dates as such.
function optionsOf(given) {
  const options = {};
  for (const [name, value] of Object.entries(given)) {
    const spelt = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
    options[spelt] = name.endsWith("_since") ? new Date(value) : value;
  }
  return options;
}

// Members as this client spells them: userName for the wire's username; and back.
const modelOf = (value) => renamed(value, "username", "userName");
const wireOf = (value) => renamed(value, "userName", "username");

function renamed(value, from, to) {
  if (Array.isArray(value)) return value.map((each) => renamed(each, from, to));
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  const members = Object.entries(value).map(([name, inner]) => [
    name === from ? to : name,
    renamed(inner, from, to),
  ]);
  return Object.fromEntries(members);
}

// Which fields of the client's own models these tasks all leave unset.
function unsetIn(tasks) {
  const unset = new Set();
  const given = new Set();
  const look = (value, { type }) => {
    if (value === undefined) return;
    if (type.name === "Sequence") value.forEach((each) => look(each, type.element));
    if (type.name !== "Composite") return;
    const mapper = BatchServiceMappers[type.className];
    for (const [name, inner] of Object.entries(mapper.type.modelProperties)) {
      (value[name] === undefined ? unset : given).add(`${type.className}.${name}`);
      look(value[name], inner);
    }
  };
  tasks.forEach((task) => look(modelOf(task), BatchServiceMappers.TaskAddParameter));
  return [...unset].filter((name) => !given.has(name));
}

async function pagesOf(first, next) {
  const pages = [];
  for (let page = await first(); ; page = await next(page.odatanextLink)) {
    pages.push([...page]);
    if (!page.odatanextLink) return pages;
  }
}

const calls = {
  async connect({ endpoint, account_name, key, token }) {
    const credentials = token
      ? new TokenCredentials(token)
      : new BatchSharedKeyCredentials(account_name, key);
    batch = new BatchServiceClient(credentials, endpoint);
  },
  create_job: ({ job }) => batch.job.add(modelOf(job)),
  get_job: ({ job_id, ...more }) => batch.job.get(job_id, { jobGetOptions: optionsOf(more) }),
  list_jobs: (more) =>
    pagesOf(
      () => batch.job.list({ jobListOptions: optionsOf(more) }),
      (link) => batch.job.listNext(link),
    ),
  patch_job: ({ job_id, job, ...more }) =>
    batch.job.patch(job_id, modelOf(job), { jobPatchOptions: optionsOf(more) }),
  update_job: ({ job_id, job, ...more }) =>
    batch.job.update(job_id, modelOf(job), { jobUpdateOptions: optionsOf(more) }),
  disable_job: ({ job_id, disable_tasks }) => batch.job.disable(job_id, disable_tasks),
  enable_job: ({ job_id }) => batch.job.enable(job_id),
  terminate_job: ({ job_id, reason }) => batch.job.terminate(job_id, { terminateReason: reason }),
  delete_job: ({ job_id, ...more }) =>
    batch.job.deleteMethod(job_id, { jobDeleteMethodOptions: optionsOf(more) }),
  count_tasks: ({ job_id }) => batch.job.getTaskCounts(job_id),
  async add_tasks({ job_id, tasks }) {
    const results = [];
    for (let start = 0; start < tasks.length; start += TASKS_MAX) {
      const part = tasks.slice(start, start + TASKS_MAX).map(modelOf);
      results.push(...(await batch.task.addCollection(job_id, part)).value);
    }
    return results;
  },
  add_task: ({ job_id, task }) => batch.task.add(job_id, modelOf(task)),
  get_task: ({ job_id, task_id, ...more }) =>
    batch.task.get(job_id, task_id, { taskGetOptions: optionsOf(more) }),
  list_tasks: ({ job_id, ...more }) =>
    pagesOf(
      () => batch.task.list(job_id, { taskListOptions: optionsOf(more) }),
      (link) => batch.task.listNext(link),
    ),
  unset_in_tasks: ({ tasks }) => unsetIn(tasks),
  update_task: ({ job_id, task_id, constraints, ...more }) =>
    batch.task.update(job_id, task_id, { constraints, taskUpdateOptions: optionsOf(more) }),
  terminate_task: ({ job_id, task_id }) => batch.task.terminate(job_id, task_id),
  reactivate_task: ({ job_id, task_id }) => batch.task.reactivate(job_id, task_id),
  delete_task: ({ job_id, task_id, ...more }) =>
    batch.task.deleteMethod(job_id, task_id, { taskDeleteMethodOptions: optionsOf(more) }),
};

function tell(error) {
  const told = { type: error.name, text: error.message, status: error.statusCode };
  const body = error.body;
  if (body && body.code) {
    told.code = body.code;
    told.values = Object.fromEntries((body.values || []).map(({ key, value }) => [key, value]));
  }
  return told;
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: name, ...given } = JSON.parse(line);
    let answer;
    try {
      const result = await calls[name](given);
      // Beside what an answer says, this client gives back its headers and more.
      const { ["odata.metadata"]: _, ...said } = result?._response?.parsedBody ?? {};
      answer = { result: wireOf(result?._response ? said : result) ?? null };
    } catch (error) {
      answer = { raised: tell(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}

main();
