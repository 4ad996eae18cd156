// Elementwise kernels run on four values per thread (define VEC) where the length allows, else on one: E is the type.
#if VEC
#define E vec4<f32>
#else
#define E f32
#endif
