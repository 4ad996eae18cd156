// Conversions between f32 and halves handle two words per thread (define VEC) where the length allows, else one: E and H are the types.
#if VEC
#define E vec4<f32>
#define H vec2<u32>
#else
#define E vec2<f32>
#define H u32
#endif
