// The instruction set: one table, from which the compiler emits, the verifier checks, the disassembler prints and the
// VM dispatches. A number, once released, keeps its meaning for ever: add at the end, never renumber.
//
// Operand kinds:
//   d  register written            r  register read              rr/dd  the first of two neighbouring registers
//   k  constant index              i  plain integer              t      jump target (absolute pc in the function)
//   f  function index              s  static index               e      reference index      p  template index
//   u  captured-cell index of the running closure                o      register read, or -1 for "none"

export type OperandKind = "d" | "dd" | "r" | "rr" | "k" | "i" | "t" | "f" | "s" | "e" | "p" | "u" | "o";

// biome-ignore format: a table
export const instructions = {
  // -- loads
  MOVE:        [0, "d r", "d = r"],
  CONST:       [1, "d k", "d = constant (number, string, bigint)"],
  INT:         [2, "d i", "d = integer"],
  UNDEFINED:   [3, "d", "d = undefined"],
  NULL:        [4, "d", "d = null"],
  TRUE:        [5, "d", "d = true"],
  FALSE:       [6, "d", "d = false"],
  TDZ:         [7, "d", "d = the hole marker: reading it through CHECK throws ReferenceError"],
  GLOBAL:      [8, "d k", "d = intrinsic global named k"],
  STATIC:      [9, "d s", "d = captured static s (function, class or frozen data; made at first use, same identity ever after)"],
  REF:         [10, "d e", "d = reference e: an action, a workflow, or a durable function (sleep, now, ...)"],
  CALLEE:      [11, "d", "d = the running function object"],
  THIS:        [12, "d", "d = this of the frame, as called"],
  NEWTARGET:   [13, "d", "d = new.target of the frame"],
  HOME:        [14, "d", "d = home object of the running method"],
  REST:        [15, "d i", "d = array of the arguments from index i"],
  ARGUMENTS:   [16, "d", "d = unmapped arguments object"],
  // -- variables that closures share: a register (or captured slot) holds a cell
  CELL:        [17, "d r", "d = new cell holding r"],
  GETCELL:     [18, "d r", "d = value in the cell in r"],
  SETCELL:     [19, "r r", "cell in the first = second"],
  GETUP:       [20, "d u", "d = value in captured cell u"],
  SETUP:       [21, "u r", "captured cell u = r"],
  CHECK:       [22, "r k", "throw ReferenceError about name k if r is the hole marker"],
  CLOSURE:     [23, "d f", "d = closure of function f over the cells its `captures` names"],
  // -- properties
  GET:         [24, "d r k", "d = r[k]"],
  GETI:        [25, "d r r", "d = r[r]"],
  SET:         [26, "r k r", "r[k] = r (strict)"],
  SETI:        [27, "r r r", "r[r] = r (strict)"],
  DELETE:      [28, "d r r", "d = delete r[r] (strict: throws where it fails)"],
  IN:          [29, "d r r", "d = key in object"],
  INSTANCEOF:  [30, "d r r", "d = value instanceof class"],
  SUPERGET:    [31, "d r r r", "d = super property: home, this, key"],
  SUPERSET:    [32, "r r r r", "super property = value: home, this, key, value"],
  PRIVATENAME: [33, "d k", "d = new private name described by k"],
  PRIVATEGET:  [34, "d r r", "d = object.#name (object, name)"],
  PRIVATESET:  [35, "r r r", "object.#name = value (object, name, value)"],
  PRIVATEHAS:  [36, "d r r", "d = #name in object (name, object)"],
  PRIVATEDEF:  [37, "r r r i", "add private element: object, name, value, kind (0 field, 1 method, 2 getter, 3 setter)"],
  // -- literals
  OBJECT:      [38, "d", "d = {}"],
  ARRAY:       [39, "d", "d = []"],
  APPEND:      [40, "r r", "array.push(value), by definition"],
  APPENDHOLE:  [41, "r", "array.length += 1"],
  APPENDALL:   [42, "r r", "append every value of an iterable to the array"],
  DEFINE:      [43, "r k r", "define own enumerable data property named k"],
  DEFINEI:     [44, "r r r", "the same, key in a register (already a property key)"],
  METHOD:      [45, "r r r i", "object, key, closure, kind: sets the home object and defines; kind & 3: 0 method 1 getter 2 setter; kind & 4: enumerable. Names the closure."],
  SETPROTO:    [46, "r r", "`__proto__: v` in a literal: sets it if v is an object or null"],
  COPY:        [47, "r r o", "copy own enumerable properties of source onto target, except keys in an array (object spread and rest)"],
  REGEXP:      [48, "d k k", "d = new RegExp(pattern, flags)"],
  TEMPLATE:    [49, "d p", "d = template object of this site (one per site and instance)"],
  SETNAME:     [50, "r r i", "set a closure's name from a key; i: 0 plain, 1 get, 2 set"],
  // -- operators
  ADD:         [51, "d r r", "+"],
  SUB:         [52, "d r r", "-"],
  MUL:         [53, "d r r", "*"],
  DIV:         [54, "d r r", "/"],
  MOD:         [55, "d r r", "%"],
  EXP:         [56, "d r r", "**"],
  BITAND:      [57, "d r r", "&"],
  BITOR:       [58, "d r r", "|"],
  BITXOR:      [59, "d r r", "^"],
  SHL:         [60, "d r r", "<<"],
  SHR:         [61, "d r r", ">>"],
  USHR:        [62, "d r r", ">>>"],
  EQ:          [63, "d r r", "=="],
  NE:          [64, "d r r", "!="],
  SEQ:         [65, "d r r", "==="],
  SNE:         [66, "d r r", "!=="],
  LT:          [67, "d r r", "<"],
  LE:          [68, "d r r", "<="],
  GT:          [69, "d r r", ">"],
  GE:          [70, "d r r", ">="],
  ADDI:        [71, "d r i", "r + integer (r may be a string)"],
  NEG:         [72, "d r", "-"],
  PLUS:        [73, "d r", "+"],
  BITNOT:      [74, "d r", "~"],
  NOT:         [75, "d r", "!"],
  TYPEOF:      [76, "d r", "typeof"],
  NUMERIC:     [77, "d r", "ToNumeric"],
  INC:         [78, "d r", "numeric + 1 (number or bigint)"],
  DEC:         [79, "d r", "numeric - 1"],
  STRING:      [80, "d r", "ToString, as template literals do (throws on symbols)"],
  KEY:         [81, "d r", "ToPropertyKey"],
  COERCIBLE:   [82, "r k", "throw TypeError if undefined or null: k is what is destructured or read"],
  // -- jumps
  JUMP:        [83, "t", "go to t"],
  JT:          [84, "r t", "jump if truthy"],
  JF:          [85, "r t", "jump if falsy"],
  JNULLISH:    [86, "r t", "jump if undefined or null"],
  JNOTNULLISH: [87, "r t", "jump unless undefined or null"],
  JDEFINED:    [88, "r t", "jump unless undefined (defaults)"],
  JLT:         [89, "r r t", "jump if a < b"],
  JNLT:        [90, "r r t", "jump unless a < b"],
  JLE:         [91, "r r t", "jump if a <= b"],
  JNLE:        [92, "r r t", "jump unless a <= b"],
  JGT:         [93, "r r t", "jump if a > b"],
  JNGT:        [94, "r r t", "jump unless a > b"],
  JGE:         [95, "r r t", "jump if a >= b"],
  JNGE:        [96, "r r t", "jump unless a >= b"],
  JSEQ:        [97, "r r t", "jump if a === b"],
  JSNE:        [98, "r r t", "jump if a !== b"],
  JINT:        [99, "r i t", "jump if r is exactly the integer i (completion kinds of finally)"],
  // -- calls: arguments stand in neighbouring registers
  CALL:        [100, "d r o r i", "d = call: function, this (-1: undefined), first argument register, count"],
  CALLA:       [101, "d r o r", "d = call with an array of arguments"],
  NEW:         [102, "d r r i", "d = new: class, first argument register, count. The fields of a base class are initialised before its body"],
  NEWA:        [103, "d r r", "d = new with an array of arguments"],
  SUPERCALL:   [104, "d r r i", "d = super(...): running constructor (register holding it, arrows capture it), first argument, count; new.target is taken from the register after d"],
  SUPERCALLA:  [105, "d r r", "the same with an array"],
  INITFIELDS:  [106, "r r", "run the field initialiser of a class on an instance: class, instance"],
  RETURN:      [107, "r", "return; in an async function resolve; in a generator finish. A non-object from a base constructor becomes `this`; a derived one returns its bound `this` itself. An async generator has awaited the value"],
  THROW:       [108, "r", "throw"],
  THROWNEW:    [109, "i k", "throw new TypeError (0) or ReferenceError (1) with message k"],
  // -- suspension
  AWAIT:       [110, "d r", "suspend until the promise of r settles; d = value, or throw here"],
  GENERATOR:   [111, "", "after parameters are bound: make the generator object, return it, suspend"],
  YIELD:       [112, "dd r", "yield r; on resumption d = sent value, d+1 = 0 for next, 1 for return (throw throws here). In an async generator the code itself awaits what it yields, and what a return brought"],
  // -- iteration: an iterator record takes two registers (iterator, next method)
  ITER:        [113, "dd r", "open an iterator"],
  ASYNCITER:   [114, "dd r", "open an async iterator (or a sync one, wrapped)"],
  ITERNEXT:    [115, "d rr t", "d = next value; if done jump"],
  ITERCALL:    [116, "d rr", "d = raw result of next() (for await: then AWAIT, then ITERUNPACK)"],
  ITERUNPACK:  [117, "d r t", "r must be an object; if r.done jump, else d = r.value"],
  ITERCLOSE:   [118, "rr", "normal or break completion: call return(), check its result"],
  ITERABORT:   [119, "rr", "throw completion: call return(), swallow what it throws"],
  FORIN:       [120, "d r", "d = enumerator of the enumerable string keys of r (empty for undefined and null)"],
  FORINNEXT:   [121, "d r t", "d = next key still present; at the end jump"],
  // -- classes
  CLASS:       [122, "dd o f", "d = constructor (function f) extending heritage (-1: none), d+1 = prototype"],
  FIELDS:      [123, "r r", "set the field initialiser closure of a class (called with this = the instance)"],
  SETHOME:     [124, "r r", "set the home object of a closure (initialisers, static blocks)"],
} as const satisfies Record<string, readonly [number, string, string]>;

export type Op = keyof typeof instructions;

/** Opcode numbers by name, for the emitter and the VM's `switch`. */
export const op = Object.fromEntries(Object.entries(instructions).map(([name, [code]]) => [name, code])) as {
  readonly [Name in Op]: (typeof instructions)[Name][0];
};

/** Operand kinds by opcode number. */
export const shapes: readonly (readonly OperandKind[])[] = Object.values(instructions).map(
  ([, operands]) => (operands === "" ? [] : operands.split(" ")) as OperandKind[],
);

/** Names by opcode number. */
export const opNames: readonly Op[] = Object.keys(instructions) as Op[];
