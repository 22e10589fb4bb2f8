// Every error code but the compiler's (compile/diagnostics.ts): what it means and what to do. The first digit is the
// room. A code, once released, keeps its meaning. docs/errors.md is made of both tables.

export interface CodeRow {
  title: string;
  help: string;
}

export const codes: Readonly<Record<string, CodeRow>> = {
  WM100: {
    title: "A workflow does not compile",
    help: "Every problem is listed with a code of its own, its position and a rewrite. Nothing was queued.",
  },
  WM201: { title: "Not a duration or a date", help: 'Give milliseconds, text such as "10s", or a valid Date.' },
  WM202: { title: "A policy is wrong", help: "The message names the field and what it accepts." },
  WM203: {
    title: "A name is declared twice",
    help: "The name is stored with every instance. Rename one of the two declarations.",
  },
  WM204: {
    title: "A declaration or its use is wrong",
    help: "Declare with `action(name, fn)` or `workflow(name, fn)`; call a workflow by `.run()` or `.start()`.",
  },
  WM205: { title: "The options of `.with()` are wrong", help: "A workflow's options are `{ id, priority, delay }`." },
  WM301: { title: "waymark was imported in part", help: 'Import "waymark" before calling `.run()` or `.start()`.' },
  WM302: {
    title: "The id belongs to another start",
    help: "An id names one workflow with one input. Choose another id.",
  },
  WM304: {
    title: "There is no such instance",
    help: "Check the id and the database; ended instances may have been removed.",
  },
  WM305: {
    title: "The database does not answer a waiting client",
    help: "The instance is safe. Start again with the same id to wait for it.",
  },
  WM306: { title: "Signals are not in this version", help: "Let an action wait for the outside event." },
  WM307: { title: "The client was shut down while it waited", help: "The instance is safe and goes on by itself." },
  WM308: {
    title: "The instance is in quarantine",
    help: "The message has the reason. The instance is kept as it is; correct the cause and start it again under another id.",
  },
  WM309: {
    title: "The journal has an event this client does not know",
    help: "A newer waymark wrote it. Upgrade this process.",
  },
  WM310: { title: "The bridge is not in this version", help: "Unset its variable and set `WAYMARK_DATABASE_URL`." },
  WM311: { title: "No database is configured", help: "Set `WAYMARK_DATABASE_URL`, or run `waymark dev`." },
  WM312: { title: "WAYMARK_SKIP_WAIT_FOR_INSTANCE is wrong", help: "Write `true` or `false`." },
  WM313: {
    title: "The client's database URL is not one",
    help: "Write `postgres://user:password@host:5432/database`, with special characters percent-encoded.",
  },
  WM401: {
    title: "A value cannot be stored",
    help: "The message has the path. Send plain data: turn functions, class instances and handles into data first.",
  },
  WM402: { title: "A value is too large", help: "Keep large data outside and send its key." },
  WM403: {
    title: "A stored value is damaged or newer",
    help: "Restore the row from a backup, or upgrade this process.",
  },
  WM404: { title: "There is no URL class here", help: "Send the text, `url.href`." },
  WM411: {
    title: "A program is damaged or newer",
    help: "Restore its row from a backup, compile the workflow again, or upgrade this process.",
  },
  WM420: { title: "A journal row cannot be read", help: "Restore the row from a backup, or upgrade this process." },
  WM421: { title: "A child's workflow is unknown", help: "Start it once, or run `waymark compile` on its module." },
  WM422: { title: "A child's id is taken", help: "Give the child another id, or none." },
  WM423: {
    title: "An instance's program cannot be used",
    help: "It is missing, changed or unreadable. Restore its row from a backup.",
  },
  WM424: { title: "An instance's input is gone", help: "Restore the row from a backup." },
  WM430: { title: "A test lacks an action", help: "Import the module that declares it." },
  WM431: { title: "A tested workflow waits for nothing", help: "Look for a promise that nobody settles." },
  WM432: {
    title: "A tested script waits for something outside",
    help: "There is nothing outside in a test. Remove the wait.",
  },
  WM433: { title: "testRun() was not given a workflow", help: "Give it what `workflow()` returned." },
  WM441: {
    title: "A workflow ran too long without waiting",
    help: "Move the computation into an action, or look for an endless loop.",
  },
  WM442: {
    title: "Calls through built-in functions are too deep",
    help: "Use a loop instead of recursion inside callbacks.",
  },
  WM443: { title: "Calls are too deep", help: "Use a loop instead of recursion." },
  WM444: { title: "Too many effects wait at once", help: "Work in batches." },
  WM445: {
    title: "The VM was asked for a handle it does not have",
    help: "This is a fault of waymark. Please report it.",
  },
  WM446: {
    title: "The VM does not know the event",
    help: "The journal was written by a newer version. Upgrade this process.",
  },
  WM447: { title: "The VM's script is missing", help: "Install waymark again; in a checkout run `npm run build`." },
  WM448: {
    title: "An instance's state is too large",
    help: "Keep large values in your own store and pass their keys.",
  },
  WM449: { title: "Only a waiting instance has a snapshot", help: "This is a fault of waymark. Please report it." },
  WM450: {
    title: "A workflow waits while it holds what cannot be stored",
    help: "Let go of it before the await; the message names it.",
  },
  WM451: { title: "A snapshot is damaged", help: "Restore the row from a backup." },
  WM452: { title: "A snapshot needs a newer Node", help: "Run the host on the version of Node that wrote it." },
  WM453: { title: "A snapshot has another format", help: "Run the version of waymark that wrote it, or a later one." },
  WM461: {
    title: "A workflow was called as a function inside a workflow",
    help: "Use `child.run(...)` or `child.start(...)`.",
  },
  WM462: {
    title: "A workflow cannot wait for a started instance",
    help: "Use `child.run(...)` and await it where the result is needed.",
  },
  WM463: { title: "runAction() was not given an unsent call", help: "Write `runAction(charge(order), policy)`." },
  WM464: {
    title: "The method is for callers outside workflows",
    help: "Inside a workflow use `run`, `start` and `with`.",
  },
  WM500: {
    title: "The database URL or schema is not one",
    help: "Write `postgres://user:password@host:5432/database`; a schema has lower-case letters, digits and underscores.",
  },
  WM501: { title: "Postgres cannot be reached", help: "Is it running, and are host, port and TLS mode right?" },
  WM502: { title: "Postgres refused the login", help: "Check user, password and TLS mode." },
  WM503: { title: "There is no such database", help: "Create it, or correct the name at the end of the URL." },
  WM504: { title: "waymark's tables are missing or of another version", help: "Run `waymark migrate`." },
  WM505: { title: "waymark's tables are newer", help: "Upgrade this process." },
  WM506: { title: "Postgres has no connection left", help: "Raise `max_connections`, or run fewer clients." },
  WM507: { title: "Postgres is read-only", help: "Connect to the primary, not a replica." },
  WM508: { title: "Postgres does not permit that", help: "Grant the user what the message names." },
  WM509: { title: "Postgres refused a statement", help: "The message has the statement and the reason." },
  WM511: { title: "Postgres has no disk space left", help: "Free some. Nothing is lost." },
  WM512: {
    title: "Postgres has another default isolation",
    help: "Set the default to read committed for this user or database.",
  },
  WM560: {
    title: "There is no Postgres to start",
    help: "Install the optional packages the message names, or set `WAYMARK_DATABASE_URL`.",
  },
  WM561: { title: "Postgres refuses to run as root", help: "Run as another user, or set `WAYMARK_DATABASE_URL`." },
  WM562: {
    title: "A folder of the development database is not usable",
    help: "Remove it, or choose a folder everyone can read.",
  },
  WM563: { title: "The development database is in use", help: "Stop that process, or choose another folder." },
  WM564: { title: "initdb failed", help: "Check that the folder is writable and the disk is not full." },
  WM565: {
    title: "The development database is of another Postgres",
    help: "Remove the folder, or install the version it was made with.",
  },
  WM566: {
    title: "The development database did not start",
    help: "Choose another port, or read the log in the message.",
  },
  WM570: { title: "That cannot name a waiting client", help: "Use 1 to 100 characters without white space." },
  WM571: {
    title: "The journal has another event there",
    help: "Another host was ahead. The instance is loaded again by itself.",
  },
  WM601: { title: "A setting is missing or wrong", help: "The message names the variable and what it accepts." },
  WM602: { title: "There is no such module", help: "Give a path from here, with its extension." },
  WM603: { title: "A module failed while it was loading", help: "The message has the error and where it was thrown." },
  WM604: { title: "A module declares no workflow", help: "Declare one with `workflow(name, fn)`." },
  WM605: { title: "waymark dev is running already", help: "Stop that one, or give another `--directory`." },
  WM606: { title: "A module has no workflow of that name", help: "The hint lists those it has." },
  WM701: { title: "No action is running", help: "Call `actionContext()` inside an action." },
  WM702: {
    title: "A dependency is declared wrong",
    help: "A provider is a function or what `dependency()` returns, and may not need itself.",
  },
  WM703: {
    title: "A dependency's provider does not keep the rules",
    help: "A generator yields once; what is disposed of after each call is made anew for each.",
  },
  WM704: {
    title: "Further cleanups of dependencies failed",
    help: "A warning: the first failure is the attempt's error, these came after it. Correct the cleanup.",
  },
  WM710: {
    title: "An action's arguments are not an array",
    help: "They were written by something else, or by a newer version.",
  },
  WM711: {
    title: "The user module was not found or failed to load",
    help: "Check `WAYMARK_USER_MODULE`; the message has the path or the error.",
  },
  WM712: { title: "This Node cannot load TypeScript", help: "Install tsx, or use Node 22.18 or later." },
  WM713: {
    title: "The worker protocol cannot listen",
    help: "Set `WAYMARK_WORKER_GRPC_ADDR` to a free host:port, or unset it.",
  },
  WM714: {
    title: "A worker could not load the user module",
    help: "The message has the module, the error and where it was thrown.",
  },
  WM715: {
    title: "A worker process ended before it was ready",
    help: "The message has its last words and its command.",
  },
  WM716: { title: "The number of workers or attempts is wrong", help: "Give a whole number from 1." },
  WM900: { title: "Internal fault", help: "This is a fault of waymark. Please report it with the message." },
};
