/* SPDX-License-Identifier: MIT
 * libFuzzer's door to a driver of tests/ext: `FUZZ_DRIVER` names the module, whose `door` is a pointer to a C function. */
#include <Python.h>
#include <stdint.h>

typedef int (*one_input_t)(const uint8_t *bytes, size_t length);
static one_input_t one_input;

static void give_up(void) {
    PyErr_Print();
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    Py_InitializeEx(0);
    PyObject *module = PyImport_ImportModule(getenv("FUZZ_DRIVER"));
    PyObject *door = module ? PyObject_GetAttrString(module, "door") : NULL;
    if (door)
        one_input = (one_input_t)PyCapsule_GetPointer(door, "one_input");
    if (!one_input)
        give_up();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (one_input(bytes, length) != 0)
        give_up();
    return 0;
}
