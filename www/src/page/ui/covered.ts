import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/**
 * Tells the main region, in a custom property, how much of it a sticky element covers: nothing that gets the focus or is scrolled to then lies
 * under it. Zero where a low window makes the element scroll with the rest.
 */
export function useCovered<E extends HTMLElement>(property: `--${string}`, on = true): RefObject<E | null> {
  const ref = useRef<E>(null);
  useEffect(() => {
    const element = ref.current;
    const main = element?.closest('main');
    if (!on || !element || !main) return;
    const tell = (): void =>
      main.style.setProperty(property, `${getComputedStyle(element).position === 'sticky' ? element.offsetHeight : 0}px`);
    const watch = new ResizeObserver(tell);
    watch.observe(element);
    addEventListener('resize', tell);
    return () => {
      watch.disconnect();
      removeEventListener('resize', tell);
      main.style.removeProperty(property);
    };
  }, [on]);
  return ref;
}
