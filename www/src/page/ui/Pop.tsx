import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/** Something small that opens above its button, and closes by Escape, by a click elsewhere and when the focus leaves it. */
export function Pop({ label, children }: { label: string; children: ComponentChildren }) {
  const ref = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const pop = ref.current!;
    const away = (e: Event): void => {
      if (pop.open && !pop.contains(e.target as Node)) pop.open = false;
    };
    addEventListener('pointerdown', away);
    addEventListener('focusin', away);
    return () => {
      removeEventListener('pointerdown', away);
      removeEventListener('focusin', away);
    };
  }, []);
  return (
    <details
      ref={ref}
      class="pop"
      onKeyDown={(e) => {
        if (e.key !== 'Escape' || !ref.current!.open) return;
        e.preventDefault();
        ref.current!.open = false;
        ref.current!.querySelector('summary')!.focus();
      }}
    >
      <summary>{label}</summary>
      {children}
    </details>
  );
}
